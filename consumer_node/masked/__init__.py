"""Which columns and bills come out of masked readings?"""
