"""NATS: connections that read by the chunk, and how they get in.

The only room that knows nats-py's internals. Nothing here knows of channels.
"""

from stan.link.deferred import load_nats_client

load_nats_client()  # before any other module here does
