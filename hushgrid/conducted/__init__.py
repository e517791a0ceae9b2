"""What exists only for the compressed rounds of a testbed: its conductor's pace, and its lossy link?"""
