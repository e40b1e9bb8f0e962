"""NATS: connections that read by the chunk, and how they get in.

The only room that knows nats-py's internals. Nothing here knows of channels.
"""
