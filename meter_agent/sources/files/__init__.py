"""Readings out of files: what portals export, what hushgrid writes, what published data sets hold."""
