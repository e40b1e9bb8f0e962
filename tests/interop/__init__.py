"""The interop suite: published clients, unchanged, against a server process."""
