"""The conformance suite: the protocol, statement by statement, against a server process."""
