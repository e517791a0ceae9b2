"""Which masked readings may be asked for, over which connection graph, and who is in their streams?"""
