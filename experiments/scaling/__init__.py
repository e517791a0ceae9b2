"""What would a million meters cost?"""
