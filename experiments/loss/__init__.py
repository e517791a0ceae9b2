"""What do lost messages do to sums, by equation, by simulation and by processes?"""
