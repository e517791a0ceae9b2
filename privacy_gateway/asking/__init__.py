"""Asking a privacy gateway, as a person or a program far from it: one command, and what it says over HTTP."""
