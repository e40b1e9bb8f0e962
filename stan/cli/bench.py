"""stan-bench: measure a streaming server with publishers and subscribers.

Exit code 0 when everything was stored and received, 1 when not, 2 for a command line that
cannot be understood. Only flags and words live here; `load` runs, `report` writes.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any, NoReturn

from stan.cli.command import parse_or_explain
from stan.cli.dial import connection_flags
from stan.cli.load import LoadError, Plan, run_load
from stan.cli.report import format_report, save_csv
from stan.cli.text import complain, leave, say
from stan.flags import Flag, Parsed, read_bool, read_count, usage
from stan.identifiers import new_id

FLAGS = [
    *connection_flags("benchmark"),
    Flag(("np",), "number of publishers", 10, read_count),
    Flag(("ns",), "number of subscribers", 0, read_count),
    Flag(("n",), "number of messages, shared by the publishers", 100000, read_count),
    Flag(("ms",), "size of a message in bytes", 128, read_count),
    Flag(("mpa",), "publishes in flight without an ack, a publisher", 512, read_count),
    Flag(("sync",), "publish one at a time, waiting for each ack", False, read_bool),
    Flag(("io",), "subscribers ignore messages of before", False, read_bool),
    Flag(("qgroup",), "queue group of the subscribers", ""),
    Flag(("csv",), "file to save the numbers in", ""),
    Flag(("u",), "user name for NATS", ""),
    Flag(("pw",), "password for NATS", ""),
    Flag(("cd",), "directory of certificates: ca.pem, and the two below", ""),
    Flag(("cf",), "client certificate file", ""),
    Flag(("ck",), "client key file", ""),
]
USAGE = usage("stan-bench [options] <subject>", FLAGS)
_BAR_WIDTH = 40


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    parsed = parse_or_explain(FLAGS, USAGE, argv)
    if isinstance(parsed, int):
        return parsed
    if len(parsed.arguments) != 1:
        complain(USAGE)
        return 1
    if not parsed["n"] or not (parsed["np"] or parsed["ns"]) or not parsed["mpa"]:
        complain("Nothing to do: -n and -mpa must be above 0, and -np or -ns.")
        return 1
    try:
        plan = make_plan(parsed)
    except (OSError, ssl.SSLError) as error:
        complain(f"Error reading certificates: {error}")
        return 1
    return _run(plan, parsed["csv"])


def make_plan(parsed: Parsed) -> Plan:
    """What the flags ask for. Raises OSError when certificates cannot be read."""
    return Plan(
        channel=parsed.arguments[0],
        messages=parsed["n"],
        message_bytes=parsed["ms"],
        publishers=parsed["np"],
        subscribers=parsed["ns"],
        cluster_id=parsed["c"],
        client_id=parsed["id"],
        is_sync=parsed["sync"],
        ignores_old=parsed["io"],
        queue=parsed["qgroup"],
        max_pub_acks_inflight=parsed["mpa"],
        servers=parsed["s"],
        nats_options=_nats_options(parsed),
    )


def _nats_options(parsed: Parsed) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if parsed["cr"]:
        options["user_credentials"] = parsed["cr"]
    if parsed["u"]:
        options.update(user=parsed["u"], password=parsed["pw"])
    if parsed["cd"] or parsed["cf"]:
        options["tls"] = _tls(Path(parsed["cd"]), parsed["cf"], parsed["ck"])
    return options


def _tls(directory: Path, certificate: str, key: str) -> ssl.SSLContext:
    authority = directory / "ca.pem"
    context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
    if certificate:
        context.load_cert_chain(directory / certificate, directory / key if key else None)
    return context


def _run(plan: Plan, csv_path: str) -> int:
    complain(
        f"Starting benchmark [msgs={plan.messages}, msgsize={plan.message_bytes}, "
        f"pubs={plan.publishers}, subs={plan.subscribers}]"
    )
    show = _draw if sys.stderr.isatty() else _ignore
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            publishers, subscribers = runner.run(run_load(plan, show))
        say(format_report(publishers, subscribers))
        if csv_path:
            save_csv(csv_path, new_id(), publishers, subscribers)
            say(f"Saved metric data in csv file {csv_path}")
    except LoadError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        complain(f"Error saving the report: {error}")
        return 1
    return 0


def loop_factory() -> Any:
    """uvloop's, when it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _draw(percent: int) -> None:
    bar = "#" * (percent * _BAR_WIDTH // 100)
    end = "\n" if percent >= 100 else ""
    print(f"\r[{bar:<{_BAR_WIDTH}}] {percent:3d}%", end=end, file=sys.stderr, flush=True)


def _ignore(_: int) -> None:
    return


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    run()
