"""How seldom may loads be seen, and what does theft do to their control?"""
