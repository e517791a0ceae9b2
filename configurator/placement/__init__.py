"""Which PPNs serve which rule?"""
