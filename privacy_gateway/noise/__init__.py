"""The laws of the noise, what they cost, and who draws it."""
