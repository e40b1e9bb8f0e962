"""stan-sub: print the messages of a channel until interrupted.

An interrupt unsubscribes (a durable is kept unless ``--unsub``) and closes. Exit code 0
after an interrupt or all messages that were asked for, 1 when connecting or subscribing fails
or the connection is lost, 2 for a command line that cannot be understood. Only words and flags
live here.
"""

import time
from typing import Any, NoReturn

import stan
from stan.cli.command import perform
from stan.cli.dial import client_id, connect_or_complain, connection_flags
from stan.cli.naming import explain_channel
from stan.cli.payload import Shown, quote_text, write_message
from stan.cli.receiving import Receiving, Wanted
from stan.cli.text import complain, leave, say
from stan.client.message import format_message, quote
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
    Flag(("n", "count"), "leave after so many messages", 0, read_count),
    Flag(("follow",), "go on when nothing more comes; -follow=false leaves", True, read_bool),
    Flag(("raw",), "print nothing but the data", False, read_bool),
    Flag(("json",), "print a JSON object a message", False, read_bool),
    Flag(("quote",), "print data that is not ASCII as octal escapes", False, read_bool),
    Flag(("t",), "print the time before each line", False, read_bool),
]
USAGE = usage("stan-sub [options] <subject>", FLAGS)
INTERRUPTED = "\nReceived an interrupt, unsubscribing and closing connection...\n"


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    return perform(_subscribe, FLAGS, USAGE, ("subject",), argv)


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


class _Words:
    """What stan-sub says. Data for programs has stdout for itself."""

    def __init__(self, parsed: Parsed, own_id: str) -> None:
        self._parsed = parsed
        self._id = own_id
        self._form = next((form for form in ("raw", "json") if parsed[form]), "")
        self._spell = quote if parsed["quote"] else quote_text
        self._channel = parsed.arguments[0]

    def connected(self) -> None:
        parsed = self._parsed
        url = hide_password(parsed["s"])
        self._log(f"Connected to {url} clusterID: [{parsed['c']}] clientID: [{self._id}]")
        if choose_start(parsed) == {"start_at": stan.StartPosition.FIRST}:
            self._log("subscribing with DeliverAllAvailable")

    def listening(self) -> None:
        self._log(
            f"Listening on [{self._channel}], clientID=[{self._id}], "
            f"qgroup=[{self._parsed['qgroup']}] durable=[{self._parsed['durable']}]"
        )

    def show(self, number: int, message: stan.Message) -> None:
        if self._form:
            write_message(Shown.of(message), self._form)
            return
        text = format_message(message, self._spell)
        self._log(f"[#{number}] Received on [{self._channel}]: '{text}'")

    def interrupted(self) -> None:
        (complain if self._form else say)(INTERRUPTED)

    def _log(self, line: str) -> None:
        write = complain if self._form else say
        write(f"{time.strftime('%Y/%m/%d %H:%M:%S')} {line}" if self._parsed["t"] else line)


async def _subscribe(parsed: Parsed) -> int:
    channel = parsed.arguments[0]
    wrong = explain_channel(channel, "subscribed to")
    if wrong is not None and "*" not in channel:  # programs know the server's words for that
        complain(f"Can't subscribe: {wrong}")
        return 1
    own_id = client_id(parsed, is_shared=bool(parsed["durable"]))
    wanted = Wanted(
        channel,
        parsed["qgroup"],
        parsed["durable"],
        choose_start(parsed),
        count=parsed["n"],
        follows=parsed["follow"],
        unsubscribes=parsed["unsub"],
    )
    receiving = Receiving(wanted, _Words(parsed, own_id))
    return await receiving.run(lambda lost: connect_or_complain(parsed, own_id, lost))


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    run()
