"""What did this consumer ever work out? In tables that others may read, and in files that repeat them."""
