"""Demand response: flexible loads kept below a cap."""
