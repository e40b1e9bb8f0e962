"""The tutorial's notebook, run cell by cell as Jupyter runs it, by IPython.

    python -m tests.tutorial.notebook URL CLUSTER      record what the cells show

What differs from run to run is masked, as in the transcripts.
"""

import asyncio
import contextlib
import io
import json
import sys
from typing import Any

from tests.structure.sources import ROOT

PATH = ROOT / "docs" / "tutorial" / "notebook.ipynb"
SERVER, CLUSTER = "nats://localhost:4222", "test-cluster"


def read() -> dict[str, Any]:
    """The notebook."""
    loaded: dict[str, Any] = json.loads(PATH.read_text())
    return loaded


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any]) -> str:
    """What stands below a cell."""
    texts = []
    for output in cell["outputs"]:
        texts.append("".join(output.get("text") or output["data"]["text/plain"]))
    return "".join(texts)


async def run(cells: list[dict[str, Any]], url: str, cluster: str) -> list[list[dict[str, Any]]]:
    """Run them on this server; the outputs of each. Raises what a cell raises."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    # The results are looked at; IPython need not print them.
    hook = shell.displayhook
    hook.write_output_prompt = hook.finish_displayhook = lambda: None
    hook.write_format_data = lambda *_: None
    outputs = []
    for number, cell in enumerate(cells, 1):
        code = "".join(cell["source"]).replace(SERVER, url).replace(CLUSTER, cluster)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            done = await shell.run_cell_async(code, transformed_cell=shell.transform_cell(code))
        done.raise_error()
        outputs.append(_describe(printed.getvalue(), done.result, number, url, cluster))
    return outputs


def _describe(
    printed: str, result: object, number: int, url: str, cluster: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if printed:
        found.append({"output_type": "stream", "name": "stdout", "text": [printed]})
    if result is not None:
        text = repr(result).replace(url, SERVER).replace(cluster, CLUSTER)
        found.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "metadata": {},
                "data": {"text/plain": [text]},
            }
        )
    return found


def main(url: str, cluster: str) -> None:
    """Put down what the cells show."""
    notebook = read()
    cells = code_cells(notebook)
    for number, (cell, outputs) in enumerate(
        zip(cells, asyncio.run(run(cells, url, cluster)), strict=True), 1
    ):
        cell["outputs"], cell["execution_count"] = outputs, number
    PATH.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
