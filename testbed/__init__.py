"""The testbed: every role as its own process, with loss and faults, compared with the truth."""
