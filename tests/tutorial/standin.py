"""Runs one of our programs where it finds its servers on other ports than the usual ones.

    python standin.py PORT FILE-OR-MODULE [ARGUMENT ...]

PORT stands in for 4222 wherever a program relies on a default. A program of the tutorial needs
no option for the sake of its test.
"""

import importlib
import runpy
import sys

_HERE = __file__.rpartition("/")[0]


def main() -> None:
    """Run the program as if it had been called by itself."""
    port, target, *arguments = sys.argv[1:]
    sys.path[:] = [entry for entry in sys.path if entry != _HERE]
    sys.argv[1:] = arguments
    options = importlib.import_module("stan.client.options")
    options.DEFAULT_SERVER_URL = f"nats://127.0.0.1:{port}"  # type: ignore[attr-defined]
    if target.endswith(".py"):
        sys.path.insert(0, "")
        sys.argv[0] = target
        runpy.run_path(target, run_name="__main__")
        return
    if target == "stan.cli.server":
        if not {"-p", "-ns"} & set(arguments):
            sys.argv[1:1] = ["-p", port]
        sys.argv[1:1] = ["-a", "127.0.0.1"]
    elif not {"-s", "--server"} & set(arguments):
        sys.argv[1:1] = ["-s", f"nats://127.0.0.1:{port}"]
    sys.argv[0] = target
    runpy.run_module(target, run_name="__main__", alter_sys=False)


main()
