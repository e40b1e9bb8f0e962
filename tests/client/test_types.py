"""What a type checker says about calls of the public API."""

import sys
from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ssl
import stan

async def right(context: ssl.SSLContext) -> None:
    async with stan.connect("c", "me", pub_ack_wait=5, tls=context, resend="always") as sc:
        await sc.publish("foo", bytearray(b"x"), msg_id="1")
        await sc.publish("foo", memoryview(b"x"))
        sub = await sc.subscribe("foo", start_at="first")
        async for message in sub:
            message.ack()
            await message.ack()
            await message.subscription.close()

async def wrong() -> None:
    await stan.connect("c", "me", pub_ack_wiat=5)
    await stan.connect("c", "me", while_disconnected="panic")
    await stan.connect("c", "me", tls="yes")
    sc = await stan.connect("c", "me")
    await sc.publish("foo", "text")
    await sc.subscribe("foo", start_at="middle")
    await sc.subscribe("foo", manual_ack=True)
"""


def test_wrong_calls_are_found_and_right_ones_are_not(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    lines = PROGRAM.splitlines()
    flags = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--hide-error-context"]
    found, trouble, _ = api.run([*flags, "--python-executable", sys.executable, str(program)])
    assert trouble == ""
    blamed = sorted(int(line.split(":")[1]) for line in found.splitlines() if ": error:" in line)
    first = lines.index("async def wrong() -> None:") + 2
    mine = [first, first + 1, first + 2, first + 4, first + 5, first + 6]
    assert blamed == mine, found
