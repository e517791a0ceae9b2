"""What may a customer take along?"""
