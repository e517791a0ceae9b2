"""What did the gateway do, in an order that nobody can change unseen?"""
