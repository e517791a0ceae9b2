"""Whether answers, combined, would tell of too few homes."""
