"""What a grid operator knows of its grid from data that it may have."""
