"""Which bytes travel between roles, on which topics?"""
