"""The state of a feeder, estimated of few measurements."""
