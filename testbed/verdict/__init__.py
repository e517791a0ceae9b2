"""Is every sum and every bill of a run right?"""
