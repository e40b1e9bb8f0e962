"""The monitoring documents, compared with those that the original served after the same traffic."""
