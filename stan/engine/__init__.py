"""DECISIONS: the whole behaviour of the server, deterministic and synchronous.

No clock, randomness, sockets, SQL or NATS: time comes in as an argument, identifiers from
an injected function, and what must happen outside leaves as data. `engine.Engine` is the
surface; every other module here is one part of what it decides.
"""
