"""The privacy gateway: what a utility's data office opens to others instead of meter data."""
