"""Which agents exist in a testbed only?"""
