"""How does a meter mask a reading, and how is a mask of an absent meter opened?"""
