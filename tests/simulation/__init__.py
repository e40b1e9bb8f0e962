"""A seeded world around the real engine: clock, network, clients and store are simulated."""
