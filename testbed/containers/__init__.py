"""The testbed in containers: its set-up, its check, and the meters that share a volume."""
