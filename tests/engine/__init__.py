"""Tests of the engine's decisions: frames in, records and operations out."""
