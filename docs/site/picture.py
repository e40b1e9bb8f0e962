"""The moving picture of the README: what `make demo` prints, as an animated SVG.

    python docs/site/picture.py docs/demo.svg      play the demo and draw it

A terminal that scrolls: all lines stand in one column, and one animation moves it up behind a
window, a step for each line. No script, no font of its own, no request to anywhere.
"""

import re
import subprocess
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS = 20, 100
ROW_PX, COLUMN_PX, MARGIN_PX = 18, 7.8, 14
# How long a line stands before the next one comes, and the last one before all begins anew.
LINE_S, TYPED_S, LAST_S = 0.22, 0.9, 4.0
COLOURS = {"$": "#7ee787", "->": "#e3b341", "title": "#79c0ff", "plain": "#c9d1d9"}
_LOG_HEAD = re.compile(r"^\[\d+\] \S+ \S+ \[INF\] STREAM: ")
_PORT = re.compile(r"127\.0\.0\.1:\d+")


def play() -> list[str]:
    """The demo's lines, without what differs from run to run."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo" / "main.py"],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.rstrip().splitlines()
    return [_PORT.sub("127.0.0.1:4222", _LOG_HEAD.sub("", line)) for line in lines]


def colour(line: str, before: str) -> str:
    """By what kind of line it is: typed, a remark, a heading, or printed."""
    if line.startswith("$"):
        return COLOURS["$"]
    if line.lstrip().startswith("->"):
        return COLOURS["->"]
    return COLOURS["title" if not before else "plain"]


def draw(lines: list[str]) -> str:
    """The picture."""
    width, height = COLUMNS * COLUMN_PX + 2 * MARGIN_PX, ROWS * ROW_PX + 2 * MARGIN_PX
    texts, steps, time_s = [], [], 0.0
    moments = []
    for line in lines:
        moments.append(time_s)
        time_s += TYPED_S if line.startswith("$") else LINE_S
    whole_s = time_s + LAST_S
    for number, (line, moment_s) in enumerate(zip(lines, moments, strict=True)):
        before = lines[number - 1] if number else ""
        y = number * ROW_PX
        texts.append(f'<text y="{y}" fill="{colour(line, before)}">{escape(line[:COLUMNS])}</text>')
        lift = (ROWS - 1 - number) * ROW_PX
        steps.append(f"{100 * moment_s / whole_s:.2f}%{{transform:translateY({lift}px)}}")
    last = (ROWS - len(lines)) * ROW_PX
    steps.append(f"100%{{transform:translateY({last}px)}}")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img"
 aria-label="A terminal: messages are published, the server is killed, a durable goes on">
<style>
text{{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre}}
.roll{{animation:roll {whole_s:.1f}s steps(1,end) infinite}}
@keyframes roll{{{"".join(steps)}}}
@media (prefers-reduced-motion:reduce){{.roll{{animation:none;transform:translateY({last}px)}}}}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<svg x="{MARGIN_PX}" y="{MARGIN_PX}" width="{width - 2 * MARGIN_PX:.0f}" height="{ROWS * ROW_PX}">
<g class="roll"><g transform="translate(0,{ROW_PX - 5})">
{chr(10).join(texts)}
</g></g></svg></svg>
"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(play()))
