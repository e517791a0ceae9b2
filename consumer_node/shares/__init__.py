"""Which sum comes out of the aggregate shares of a rule, or why is there none?"""
