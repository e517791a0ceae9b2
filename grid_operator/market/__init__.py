"""What private data costs, and what of it is worth buying."""
