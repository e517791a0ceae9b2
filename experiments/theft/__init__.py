"""Theft: the game against one home, and which home it may be when only sums are known."""
