"""What do the papers claim, and what comes out here?"""
