"""Print the messages of a channel, from the first one that is kept, until Ctrl-C.

    python examples/stan-sub/main.py foo
    python examples/stan-sub/main.py --durable mine foo

With --durable the server remembers how far you got: run it again and it goes on there. The
command stan-sub does the same with more options. This is the part to copy.
"""

import argparse
import asyncio
import sys

import stan


async def listen(server: str, cluster: str, channel: str, durable: str) -> None:
    async with stan.connect(cluster, "example-sub", servers=server) as sc:
        sub = await sc.subscribe(channel, durable=durable, start_at="first")
        print(f"Listening on [{channel}]", flush=True)
        async for msg in sub:  # asking for the next message acknowledges the one before
            print(f"[#{msg.sequence}] Received on [{channel}]: '{msg}'", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the messages of a channel.")
    parser.add_argument("--server", default="nats://localhost:4222", help="NATS server URL")
    parser.add_argument("--cluster", default="test-cluster", help="cluster ID")
    parser.add_argument("--durable", default="", help="name under which the position is kept")
    parser.add_argument("channel")
    args = parser.parse_args()
    try:
        asyncio.run(listen(args.server, args.cluster, args.channel, args.durable))
    except stan.StanError as error:
        sys.exit(f"Cannot listen: {error}")
    except KeyboardInterrupt:
        print("\nBye.")


if __name__ == "__main__":
    main()
