"""What a PromQL expression names: metrics, and the labels that each must have.

Only as much of the language as the examples speak; text that it does not know fails. Labels that
group or match must be on every metric of the expression. `job` and `instance` come from Prometheus.
"""

import re
from collections.abc import Iterator

Needs = dict[str, set[str]]

_SCRAPED = {"job", "instance"}
_WORDS = {"and", "or", "unless", "bool", "offset"}
_FUNCTIONS = {
    *("sum", "max", "min", "avg", "count", "topk", "rate", "increase", "deriv", "absent"),
    *("histogram_quantile", "label_values"),
}
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
_TOKEN = re.compile(
    r"""\s*(?:(?P<function>[a-z_]+)(?=\s*\()|(?P<name>[a-zA-Z_:][\w:]*)(?P<labels>\{[^}]*\})?"""
    r"""|(?P<range>\[(?:\d+[smhd]|\$__rate_interval|\$__range)\])"""
    r"""|(?P<other>\d+(?:\.\d+)?(?:e\d+)?|==|!=|>=|<=|[-+*/<>(),]))\s*"""
)
_MATCHER = re.compile(r'([a-zA-Z_]\w*)(?:=~|!~|!=|=)"(?:[^"\\]|\\.)*"')
_SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


def needs_of(expression: str, shown: str = "") -> Needs:
    """Each metric of an expression with the labels it must have, those shown in a text too."""
    common = set(_SHOWN.findall(shown))
    for names in _GROUPING.findall(expression):
        common.update(name.strip() for name in names.split(",") if name.strip())
    needs: Needs = {}
    for name, matchers in _selectors(_GROUPING.sub(" ", expression)):
        needs.setdefault(name, set()).update(common - _SCRAPED, matchers - _SCRAPED)
    assert needs, f"no metric in {expression}"
    return needs


def variable_needs(query: str) -> Needs:
    """What a variable of a dashboard needs."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found is not None, query
    return needs_of(found[1], "{{" + found[2] + "}}")


def _selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    position = 0
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        assert token is not None, f"not understood: {expression[position:]}"
        position = token.end()
        function, name, labels = token["function"], token["name"], token["labels"]
        if function is not None:
            assert function in _FUNCTIONS or function in _WORDS, f"no function {function}"
        elif name is not None and name not in _WORDS:
            rest = _MATCHER.sub("", labels or "{}")
            assert not rest.strip("{}, "), f"not understood: {labels}"
            yield name, set(_MATCHER.findall(labels or ""))
