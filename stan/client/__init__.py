"""LIBRARY: the asyncio client.

`session` is the protocol without input or output; `window` and `feed` are its two halves
of traffic; `transport` reaches NATS; `connection` joins them with a clock and an event loop.
Nothing in here imports the server, its engine or its store.
"""
