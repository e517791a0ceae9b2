"""What do agents and the configurator say to each other? A module for each conversation."""
