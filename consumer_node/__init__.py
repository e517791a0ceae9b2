"""The consumer: asks for rules, collects aggregate shares, recovers sums with their coverage. It sees no household."""
