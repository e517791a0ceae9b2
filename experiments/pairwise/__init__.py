"""What do masked readings give away, and what do they cost a meter?"""
