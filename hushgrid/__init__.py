"""hushgrid: the protocol shared by every role."""

__version__ = "0.1.0"
