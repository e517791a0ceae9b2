"""The images of a clean checkout, built once for all tests of containers, and who types docs/containers.md there."""
