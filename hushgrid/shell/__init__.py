"""How does an agent wait, send, remember and end, whatever its role?"""
