"""Which broker does a run use, and how do agents come through its doors?"""
