"""Who asks, how is that shown, and what may they ask?"""
