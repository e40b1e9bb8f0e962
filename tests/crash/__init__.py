"""The crash test: a load, a server that is killed at random moments, and a strict auditor."""
