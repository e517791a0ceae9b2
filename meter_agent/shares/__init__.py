"""How does a reading leave as sealed shares, and how long are they kept?"""
