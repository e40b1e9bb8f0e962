"""Bringing the data of the original server (nats-streaming-server) into a store of ours.

An origin reads what the original left (its SQL tables, its FILE store) and changes nothing
there; `transfer` copies it through the store's contract. Nothing here serves anybody.
Invariant: a store belongs to a cluster only when all of an import is in it.
"""
