"""stan-pub: publish a message to a channel.

Exit code 0 when the message is stored, 1 when it is not or that is unknown, 2 for a command
line that cannot be understood. Only words and flags live here; publishing is the client's.
"""

import asyncio
from typing import NoReturn

import stan
from stan.cli.command import perform
from stan.cli.dial import client_id, connect_or_complain, connection_flags
from stan.cli.naming import explain_channel
from stan.cli.publishing import publish_all, read_payload, repeat
from stan.cli.text import complain, leave, say
from stan.flags import Flag, Parsed, read_bool, read_count, usage

FLAGS = [
    *connection_flags("stan-pub"),
    Flag(("a", "async"), "publish asynchronously and show the guid", False, read_bool),
    Flag(("f", "file"), "publish what is in this file; - for standard input", ""),
    Flag(("n", "count"), "publish the message so many times", 1, read_count),
]
USAGE = usage("stan-pub [options] <subject> <message>, - for standard input", FLAGS)
_ASYNC_WAIT_S = 5.0


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    return perform(_publish, FLAGS, USAGE, _arguments, argv)


def _arguments(parsed: Parsed) -> tuple[str, ...]:
    return ("subject",) if parsed["f"] else ("subject", "message")


async def _publish(parsed: Parsed) -> int:
    channel, *message = parsed.arguments
    wrong = explain_channel(channel, "published to")
    if wrong is not None and "*" not in channel:  # programs know the server's words for that
        complain(f"Can't publish: {wrong}")
        return 1
    try:
        payload = read_payload(message[0] if message else None, parsed["f"] or None)
    except OSError as error:
        complain(f"Can't read {error.filename or 'standard input'}: {error.strerror}")
        return 1
    connection = await connect_or_complain(parsed, client_id(parsed))
    if connection is None:
        return 1
    is_typed = bool(message) and message[0] != "-"
    what = f"'{message[0]}'" if is_typed else f"{len(payload)} bytes"
    publish = _publish_async if parsed["a"] else _publish_sync
    try:
        async with connection:
            if parsed["n"] != 1:
                return await _publish_often(connection, channel, payload, parsed["n"])
            return await publish(connection, channel, payload, what)
    except stan.StanError as error:
        complain(f"Error during publish: {error}")
    return 1


async def _publish_sync(
    connection: stan.Connection, channel: str, payload: bytes, what: str
) -> int:
    await connection.publish(channel, payload)
    say(f"Published [{channel}] : {what}")
    return 0


async def _publish_async(
    connection: stan.Connection, channel: str, payload: bytes, what: str
) -> int:
    receipt = await connection.publish_async(channel, payload)
    say(f"Published [{channel}] : {what} [guid: {receipt.guid}]")
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


async def _publish_often(
    connection: stan.Connection, channel: str, payload: bytes, count: int
) -> int:
    await publish_all(connection, channel, repeat(payload, count))
    say(f"Published [{channel}] : {count} messages")
    return 0


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    run()
