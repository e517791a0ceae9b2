"""Who is in each round's sums, and which sums are withheld?"""
