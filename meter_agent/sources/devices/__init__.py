"""What does this real meter say right now?"""
