"""Which mathematics do several roles share? No input, no output, no clock."""
