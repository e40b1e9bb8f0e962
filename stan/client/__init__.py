"""LIBRARY: the asyncio client.

`session` is the protocol without input or output: `pulse` (is the server there), `window`
(publishes), `feed` (deliveries), `returning` (subscribing again), `requests`. `transport`
reaches NATS; `driver` joins the two with a clock and an event loop; `connection` and
`subscription` are what the user holds. Nothing in here imports the server, its engine or
its store.
"""
