"""The tutorial, proved: its programs run against real servers, its pages show what they print."""
