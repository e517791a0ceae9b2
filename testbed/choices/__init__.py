"""What can a person choose about a run, and does it fit together?"""
