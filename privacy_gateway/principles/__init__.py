"""Does what is there keep the eight principles of fair information practice?"""
