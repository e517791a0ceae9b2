"""What does the household allow?"""
