"""The meter: takes readings from a source, and says each so that no single node can read it."""
