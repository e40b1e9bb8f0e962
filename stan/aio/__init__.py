"""The API of the older Python client, asyncio-nats-streaming 0.4.0, for programs written to it.

`client` and `errors` have its names, parameters and defaults; what they do is `stan.client`'s.
Nothing here speaks the protocol or decides anything.
"""
