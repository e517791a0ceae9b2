"""What would the configurator say to the rules in a file?"""
