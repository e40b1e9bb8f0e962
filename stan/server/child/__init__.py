"""The NATS server below ours: its configuration, its process, and the guard over it."""
