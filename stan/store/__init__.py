"""What the server remembers: the contract of a store, memory, and three databases.

`open_store` in stan.store.open makes one; docs/store.md says what it keeps and how. No
policy lives here, and nothing of NATS. Invariant: a batch is true whole, or not at all.
"""
