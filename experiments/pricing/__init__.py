"""What private data costs and is worth to an operator (paper 000)."""
