"""The console: pages for people on the monitoring port. Everything goes through the operations."""
