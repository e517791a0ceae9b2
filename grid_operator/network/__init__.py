"""A feeder: its lines and nodes, and the power flow in it."""
