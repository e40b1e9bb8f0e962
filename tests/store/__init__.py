"""One behaviour suite for every store, and what only databases can go through."""
