"""Who holds which certificate, and who may come through which door of a broker?"""
