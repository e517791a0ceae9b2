"""Machines that are not this one: a plain Debian that is booted, an emulated ARM."""
