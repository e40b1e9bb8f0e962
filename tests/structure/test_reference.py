"""The API reference has every public name of `import stan`."""

import re

import stan
from tests.structure.sources import ROOT


def test_the_reference_names_all_that_is_public() -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    shown = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    names = {path.rpartition(".")[2] for path in shown}
    missing = [
        name
        for name in stan.__all__
        if not name.startswith("_")
        and name not in names
        and getattr(getattr(stan, name), "__module__", None) not in shown
    ]
    assert "stan.connect" in shown
    assert missing == []
