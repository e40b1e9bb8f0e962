"""What a reader of the tutorial types, and what then appears: a .console file, parsed.

    $ stan-server                  a server runs until the end, in a terminal of its own
    $ stan-sub --all foo           a program; then the lines that it prints
    Listening on [foo], ...
        $ stan-pub foo "msg one"   indented: typed in another terminal once the lines above came
        Published [foo] : 'msg one'
    ^C                             Ctrl-C, once the lines above came

Nothing is run here. Times and identifiers differ from run to run: `mask` hides them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.structure.sources import ROOT

PROGRAMS = ROOT / "examples" / "tutorial"
CTRL_C = "^C"
_ASIDE = "    "
_PROMPT = "$ "
_SERVERS = ("stan-server", "nats-server")

_MASKS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^\[\d+\]", "[PID]"),
        (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+", "TIME"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
        (r"timestamp:\d{19}", "timestamp:NS"),
        (r"\$2a\$\d\d\$[./A-Za-z0-9]{53}", "HASH"),
        (r"\b[A-Z][A-Z2-7]{55}\b", "NKEY"),
        (r"\b[A-Za-z0-9]{22}\b", "GUID"),
        (r"\[[0-9a-f]{7}\]", "[COMMIT]"),
        (r"\b\d+\.\d+\.\d+(?:\.\w+)?\b(?![.:\d])", "VERSION"),
        (r"\b\d+\.\d+ (s|ms)\b", r"N \1"),
    )
)


def mask(line: str) -> str:
    """The line without what differs from run to run."""
    for pattern, name in _MASKS:
        line = pattern.sub(name, line)
    return line


@dataclass
class Command:
    """Something typed, with what appears: lines, and what is typed elsewhere in between."""

    text: str
    body: "list[str | Command]" = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The lines that it prints."""
        return [part for part in self.body if isinstance(part, str) and part != CTRL_C]

    @property
    def is_server(self) -> bool:
        """Whether it goes on running beside what is typed next."""
        return self.text.split()[0] in _SERVERS

    @property
    def is_simple(self) -> bool:
        """Whether its output can be recorded: nobody types in between."""
        return not self.is_server and self.body == self.lines


def parse(text: str) -> list[Command]:
    """The commands of a transcript."""
    commands: list[Command] = []
    aside: Command | None = None
    for line in text.splitlines():
        if line.startswith(_PROMPT):
            commands.append(Command(line.removeprefix(_PROMPT)))
            aside = None
        elif line.startswith(_ASIDE + _PROMPT):
            aside = Command(line.removeprefix(_ASIDE + _PROMPT))
            commands[-1].body.append(aside)
        elif line.startswith(_ASIDE) and aside is not None:
            aside.body.append(line.removeprefix(_ASIDE))
        else:
            commands[-1].body.append(line)
            aside = None
    return commands


def write(commands: list[Command]) -> str:
    """The transcript of the commands."""
    out = []
    for command in commands:
        out.append(_PROMPT + command.text)
        for part in command.body:
            if isinstance(part, str):
                out.append(part)
            else:
                out.append(_ASIDE + _PROMPT + part.text)
                out.extend(_ASIDE + line for line in part.lines)
    return "\n".join(out) + "\n"


def list_transcripts() -> list[Path]:
    """All transcripts, in the order of the pages."""
    return sorted(PROGRAMS.glob("*/*.console"))


def name(path: Path) -> str:
    """Chapter and section."""
    return f"{path.parent.name}/{path.stem}"
