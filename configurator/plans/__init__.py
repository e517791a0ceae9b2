"""Which plan follows from what is registered, and when?"""
