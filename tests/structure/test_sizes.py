"""Files and functions stay short enough to be read at once."""

from tests.structure.sources import count_lines, iter_functions, list_modules, show

FILE_LINES = 450
FUNCTION_LINES = 60


def test_a_file_has_less_than_450_lines() -> None:
    lengths = {show(path): len(path.read_text().splitlines()) for path in list_modules()}
    assert lengths
    longer = {name: n for name, n in lengths.items() if n >= FILE_LINES}
    assert not longer, longer


def test_a_function_has_less_than_60_lines() -> None:
    lengths = {
        f"{show(path, function.lineno)} {function.name}": count_lines(function)
        for path in list_modules()
        for function in iter_functions(path)
    }
    assert lengths
    longer = {name: n for name, n in lengths.items() if n >= FUNCTION_LINES}
    assert not longer, longer
