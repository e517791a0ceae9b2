"""The configurator: who may ask for which sums, on which PPNs they are made, and who is in each of them. Never how much."""
