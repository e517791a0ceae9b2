"""How is a run played, and what does a person see of it?"""
