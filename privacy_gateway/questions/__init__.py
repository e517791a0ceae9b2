"""What may be asked, and which recovered sums answer it."""
