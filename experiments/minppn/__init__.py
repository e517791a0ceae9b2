"""How many PPNs does a set of rules need?"""
