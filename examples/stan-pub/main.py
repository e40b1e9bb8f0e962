"""Publish one message to a channel and wait until it is stored.

    python examples/stan-pub/main.py foo "msg one"

The command stan-pub does the same with more options. This is the part to copy.
"""

import argparse
import asyncio
import sys

import stan


async def publish(server: str, cluster: str, channel: str, text: str) -> None:
    async with stan.connect(cluster, "example-pub", servers=server) as sc:
        await sc.publish(channel, text.encode())  # returns when the server has stored it
        print(f"Published [{channel}] : '{text}'")


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish one message to a channel.")
    parser.add_argument("--server", default="nats://localhost:4222", help="NATS server URL")
    parser.add_argument("--cluster", default="test-cluster", help="cluster ID")
    parser.add_argument("channel")
    parser.add_argument("message")
    args = parser.parse_args()
    try:
        asyncio.run(publish(args.server, args.cluster, args.channel, args.message))
    except stan.StanError as error:
        sys.exit(f"Cannot publish: {error}")


if __name__ == "__main__":
    main()
