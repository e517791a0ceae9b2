"""Which rules may exist together, so that no combination of sums singles anybody out?"""
