"""What does the configurator remember, and which plan holds for a round?"""
