"""stan-sub: print the messages of a channel until interrupted.

An interrupt unsubscribes (a durable is kept unless ``--unsub``) and closes. Exit code 0
after an interrupt, 1 when connecting or subscribing fails or the connection is lost, 2 for
a command line that cannot be understood. Only words and flags live here.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

import stan
from stan.cli.command import perform
from stan.cli.dial import connect_or_complain, connection_flags
from stan.cli.text import complain, leave, say
from stan.flags import Flag, Parsed, read_bool, read_count, usage
from stan.link.connecting import hide_password
from stan.units import SECOND_NS, parse_duration

FLAGS = [
    *connection_flags("stan-sub"),
    Flag(("qgroup",), "queue group to join", ""),
    Flag(("all",), "start with all messages that are kept", True, read_bool),
    Flag(("last",), "start with the last message", False, read_bool),
    Flag(("since",), "start with messages of the last time span, such as 1h30m", 0, parse_duration),
    Flag(("seq",), "start at this sequence number", 0, read_count),
    Flag(("new_only",), "start with new messages", False, read_bool),
    Flag(("durable",), "name under which the server keeps the position", ""),
    Flag(("unsub", "unsubscribe"), "unsubscribe a durable before leaving", False, read_bool),
    Flag(("t",), "print the time before each line", False, read_bool),
]
USAGE = usage("stan-sub [options] <subject>", FLAGS)
INTERRUPTED = "\nReceived an interrupt, unsubscribing and closing connection...\n"

Stop = Callable[[int], None]


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    return perform(_subscribe, FLAGS, USAGE, 1, argv)


def choose_start(parsed: Parsed) -> dict[str, Any]:
    """Where to begin: an explicit flag wins over the default, which is all."""
    if parsed["seq"]:
        return {"sequence": parsed["seq"]}
    if parsed["last"]:
        return {"start_at": stan.StartPosition.LAST}
    if parsed["all"] and "all" in parsed.given:
        return {"start_at": stan.StartPosition.FIRST}
    if "since" in parsed.given:
        return {"delta": parsed["since"] / SECOND_NS}
    if parsed["new_only"] or not parsed["all"]:
        return {"start_at": stan.StartPosition.NEW}
    return {"start_at": stan.StartPosition.FIRST}


async def _subscribe(parsed: Parsed) -> int:
    loop = asyncio.get_running_loop()
    exit_code: asyncio.Future[int] = loop.create_future()

    def stop(code: int) -> None:
        if not exit_code.done():
            exit_code.set_result(code)

    def lost(_: stan.Connection, error: stan.ClientError) -> None:
        complain(f"Connection lost, reason: {error}")
        stop(1)

    def failed(_: object, context: dict[str, Any]) -> None:
        """A line could not be printed: its message is not acknowledged, and we leave."""
        if not isinstance(context.get("exception"), BrokenPipeError):
            complain(f"Error: {context.get('exception') or context['message']}")
        stop(1)

    loop.set_exception_handler(failed)
    connection = await connect_or_complain(parsed, lost)
    if connection is None:
        return 1
    log = _timed if parsed["t"] else say
    url = hide_password(parsed["s"])
    log(f"Connected to {url} clusterID: [{parsed['c']}] clientID: [{parsed['id']}]")
    # Before subscribing: the first message may be printed, and answered with Ctrl-C, before
    # the subscribe call returns.
    loop.add_signal_handler(signal.SIGINT, _interrupt, stop, 0)
    loop.add_signal_handler(signal.SIGTERM, _interrupt, stop, 143)
    try:
        subscription = await _start(connection, parsed, log)
    except stan.StanError as error:
        complain(str(error))
        await _close(connection)
        return 1
    code = await exit_code
    if parsed["unsub"] or not parsed["durable"]:
        await _unsubscribe(subscription)
    await _close(connection)
    return code


async def _start(
    connection: stan.Connection, parsed: Parsed, log: Callable[[str], None]
) -> stan.Subscription:
    channel = parsed.arguments[0]
    start = choose_start(parsed)
    listening: str | None = (
        f"Listening on [{channel}], clientID=[{parsed['id']}], "
        f"qgroup=[{parsed['qgroup']}] durable=[{parsed['durable']}]"
    )
    count = 0

    def announce() -> None:
        """Once, and before the first message, which may be faster than the answer."""
        nonlocal listening
        if listening is not None:
            log(listening)
            listening = None

    def show(message: stan.Message) -> None:
        nonlocal count
        announce()
        count += 1
        log(f"[#{count}] Received on [{channel}]: '{message}'")

    if start == {"start_at": stan.StartPosition.FIRST}:
        log("subscribing with DeliverAllAvailable")
    subscription = await connection.subscribe(
        channel, show, queue=parsed["qgroup"], durable=parsed["durable"], **start
    )
    announce()
    return subscription


def _interrupt(stop: Stop, code: int) -> None:
    say(INTERRUPTED)
    stop(code)


async def _unsubscribe(subscription: stan.Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except stan.ConnectionClosedError:
        return  # lost before: that was said already
    except stan.StanError as error:
        complain(f"Error during unsubscribe: {error}")


async def _close(connection: stan.Connection) -> None:
    try:
        await connection.close()
    except stan.StanError as error:
        complain(f"Error during close: {error}")


def _timed(line: str) -> None:
    say(f"{time.strftime('%Y/%m/%d %H:%M:%S')} {line}")


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    run()
