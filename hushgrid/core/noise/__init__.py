"""Noise that protects somebody: integers, drawn exactly."""
