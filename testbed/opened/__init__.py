"""A testbed by the clock on the wall, which meters of others may join."""
