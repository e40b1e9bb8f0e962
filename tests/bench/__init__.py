"""Tests of the benchmark: that what it says was measured is what happened."""
