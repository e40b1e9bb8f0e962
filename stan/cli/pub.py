"""stan-pub: publish one message to a channel.

Exit code 0 when the message is stored, 1 when it is not or that is unknown, 2 for a command
line that cannot be understood. Only words and flags live here; publishing is the client's.
"""

import asyncio
import os
from typing import NoReturn

import stan
from stan.cli.command import perform
from stan.cli.dial import connect_or_complain, connection_flags
from stan.cli.text import complain, leave, say
from stan.flags import Flag, Parsed, read_bool, usage

FLAGS = [
    *connection_flags("stan-pub"),
    Flag(("a", "async"), "publish asynchronously and show the guid", False, read_bool),
]
USAGE = usage("stan-pub [options] <subject> <message>", FLAGS)
_ASYNC_WAIT_S = 5.0


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    return perform(_publish, FLAGS, USAGE, 2, argv)


async def _publish(parsed: Parsed) -> int:
    connection = await connect_or_complain(parsed)
    if connection is None:
        return 1
    channel, message = parsed.arguments
    publish = _publish_async if parsed["a"] else _publish_sync
    try:
        async with connection:
            return await publish(connection, channel, message)
    except stan.StanError as error:
        complain(f"Error during publish: {error}")
    return 1


async def _publish_sync(connection: stan.Connection, channel: str, message: str) -> int:
    await connection.publish(channel, os.fsencode(message))
    say(f"Published [{channel}] : '{message}'")
    return 0


async def _publish_async(connection: stan.Connection, channel: str, message: str) -> int:
    receipt = await connection.publish_async(channel, os.fsencode(message))
    say(f"Published [{channel}] : '{message}' [guid: {receipt.guid}]")
    try:
        async with asyncio.timeout(_ASYNC_WAIT_S):
            guid = await receipt
    except stan.StanError as error:
        complain(f"Error in server ack for guid {receipt.guid}: {error}")
        return 1
    except TimeoutError:
        complain("timeout")
        return 1
    say(f"Received ACK for guid {guid}")
    return 0


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    run()
