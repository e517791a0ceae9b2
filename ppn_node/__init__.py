"""The privacy-preserving node: adds shares it cannot interpret, and releases each sum once."""
