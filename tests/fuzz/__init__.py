"""Hostile input for the engine and the wire module."""
