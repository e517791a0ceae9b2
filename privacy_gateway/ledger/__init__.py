"""What was spent of every home's budget, and what is left."""
