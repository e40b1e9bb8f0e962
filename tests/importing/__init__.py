"""Importing the original server's data."""
