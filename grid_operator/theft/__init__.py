"""Theft as a game, and what sums tell of it."""
