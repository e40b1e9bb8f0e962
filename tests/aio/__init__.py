"""Programs written against the API of asyncio-nats-streaming 0.4.0, run on our server."""
