"""May this rule exist while the grid runs, and when is its consumer told?"""
