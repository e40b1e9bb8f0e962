"""What the operator asked for: options, their sources, and what may change while it runs."""
