"""The scanner finds every key and value of whatever the parser accepts: TOML 1.0 and 1.1."""

from __future__ import annotations

import json
import re
import string
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.jobfile.positions import find, scan

Draw = Any

PLAIN = st.text(alphabet=string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=4)
NAMES = PLAIN | st.sampled_from(["", "a b", "a.b", "é", 'q"q', "back\\slash", "#", "[x]", "=", "\x1b", "\0"])
LEAVES = (
    st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC))
    | st.datetimes().map(lambda moment: moment.replace(second=0, microsecond=0))
    | st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
    | st.dates()
    | st.text(
        alphabet=string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", "") + "\x1b\0é😀"
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
TREES = st.dictionaries(NAMES, VALUES, max_size=4)


class Writer:
    """Write a tree as TOML in one of the many ways there are; 1.1 has more of them than 1.0."""

    def __init__(self, draw: Draw, *, is_1_1: bool) -> None:
        self._draw = draw
        self._blocks: list[str] = []
        self._is_1_1 = is_1_1

    def document(self, tree: dict[str, Any]) -> str:
        top = self._body((), tree)
        blocks = self._draw(st.permutations(self._blocks))
        return top + "".join(blocks)

    def _choose(self, *ways: str) -> str:
        return self._draw(st.sampled_from(ways))

    def _body(self, prefix: tuple[str, ...], table: dict[str, Any]) -> str:
        """Write what stands under a header; sub-tables with headers of their own become blocks."""
        lines = ""
        for name, value in table.items():
            path = (*prefix, name)
            ways = ["inline"]
            if isinstance(value, dict):
                ways += ["header"] + (["dotted"] if value else [])
            elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
                ways.append("array of tables")
            match self._choose(*ways):
                case "inline":
                    lines += self._pair(self._key(name), value)
                case "dotted":
                    for inner, below in value.items():
                        dot = self._choose(".", " . ", "\t.")
                        lines += self._pair(self._key(name) + dot + self._key(inner), below)
                case "header":
                    body = self._body(path, value)
                    self._blocks.append(f"{self._header(path)}{body}")
                case "array of tables":
                    block = ""
                    for item in value:
                        pairs = [self._pair(self._key(key), below) for key, below in item.items()]
                        block += f"[{self._header(path).strip()}]\n" + "".join(pairs)
                    self._blocks.append(block)
        return lines

    def _header(self, path: tuple[str, ...]) -> str:
        blank = self._choose("", " ", "\t")
        return f"[{blank}{f'{blank}.{blank}'.join(map(self._key, path))}{blank}]\n"

    def _pair(self, key: str, value: Any) -> str:
        equals = self._choose("=", " = ", "\t=  ")
        end = self._choose("\n", " # a = 1 ]}\"'\n", "\n\n  # '''\n\t")
        return f"{self._choose('', '  ')}{key}{equals}{self._value(value)}{end}"

    def _key(self, name: str) -> str:
        if name and set(name) <= set(string.ascii_letters + string.digits + "-_"):
            return self._choose(name, f"'{name}'", f'"{name}"')
        return self._escaped(json.dumps(name, ensure_ascii=bool(self._draw(st.booleans()))))

    def _escaped(self, text: str) -> str:
        """Write some escapes of a string as only 1.1 does."""
        if self._is_1_1:
            text = text.replace(r"\u001b", self._choose(r"\u001b", r"\e"))
            text = re.sub(r"\\u00(?=[0-9a-f]{2})", self._choose(r"\\u00", r"\\x"), text)
        return text

    def _value(self, value: Any) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case int() | float():
                return repr(value)
            case datetime():
                return value.isoformat(self._choose("T", " "), self._precision(value))
            case time():
                return value.isoformat(self._precision(value))
            case date():
                return value.isoformat()
            case str():
                return self._string(value)
            case list():
                blank = self._choose("", " ", "\n", " # ] , }\n")
                return "[" + "".join(f"{blank}{self._value(item)}{blank}," for item in value) + f"{blank}]"
        pairs = [f"{self._key(name)} = {self._value(item)}" for name, item in value.items()]
        if not self._is_1_1:
            return "{ " + " , ".join(pairs) + " }"
        blank = self._choose("", " ", "\n", "\n\t", " # } , ]\n")
        last = self._choose("", f"{blank},") if pairs else ""
        return "{" + blank + f"{blank},{blank}".join(pairs) + last + blank + "}"

    def _precision(self, value: datetime | time) -> str:
        is_even = self._is_1_1 and not value.second and not value.microsecond
        return self._choose("auto", "minutes") if is_even else "auto"

    def _string(self, value: str) -> str:
        plain = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        ways = [plain, self._escaped(plain)]
        is_plain = "\n" not in value and "\x7f" not in value and value.replace("\t", "").isprintable()
        if is_plain and "'" not in value:
            ways.append(f"'{value}'")
        escaped = value.replace("\\", "\\\\").replace('"""', '""\\"')
        if {"\x7f", "\x1b", "\0"}.isdisjoint(value) and not value.startswith("\n"):
            # One that ends in quotes is closed by up to five of them.
            ways.append(f'"""\n{escaped}"""')
            if "'''" not in value:
                ways.append(f"'''\n{value}'''")
        return self._choose(*[way for way in ways if self._is_right(way, value)])

    @staticmethod
    def _is_right(way: str, value: str) -> bool:
        try:
            return bool(tomli.loads(f"x = {way}") == {"x": value})
        except tomli.TOMLDecodeError:
            return False


@st.composite
def documents(draw: Draw) -> tuple[str, dict[str, Any]]:
    tree = draw(TREES)
    return Writer(draw, is_1_1=draw(st.booleans())).document(tree), tree


def leaves(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(tree, dict):
        return [leaf for name, value in tree.items() for leaf in leaves(value, (*path, name))]
    found = [(path, tree)]
    if isinstance(tree, list):
        found += [leaf for index, value in enumerate(tree) for leaf in leaves(value, (*path, index))]
    return found


@given(documents())
def test_each_value_and_key_is_where_the_scanner_says(document: tuple[str, dict[str, Any]]) -> None:
    text, tree = document
    assert tomli.loads(text) == tree
    root = scan(text)
    for path, value in leaves(tree):
        start, end = find(root, path)
        has_headers = isinstance(value, list) and text[start] != "["
        if not has_headers:
            assert parsed(text[start:end]) == value
        if isinstance(path[-1], str):
            start, end = find(root, path, at_key=True)
            assert list(tomli.loads(f"{text[start:end]} = 1")) == [path[-1]]


def parsed(text: str) -> Any:
    return tomli.loads(f"x = {text}")["x"]


TEXT = """\
# [jobs.a]
top = 1
[jobs]
line = "@daily x"
[jobs.a.tasks]   # before its parent
one . 'two' = '''
]'''
[jobs.a]
retry = { max = 3, codes = [ 1, # one
  [2, 3] ] }
env."A B".x = 1979-05-27 07:32:00
[[jobs.list]]
n = 1
[[jobs.list]]
n = 22
[jobs.list.sub]
m = 333
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), "top", "1"),
        (("jobs", "line"), "line", '"@daily x"'),
        (("jobs", "a", "tasks", "one", "two"), "'two'", "'''\n]'''"),
        (("jobs", "a", "tasks"), "tasks", "tasks"),
        (("jobs", "a", "retry", "max"), "max", "3"),
        (("jobs", "a", "retry", "codes", 1, 1), "codes", "3"),
        (("jobs", "a", "env", "A B", "x"), "x", "1979-05-27 07:32:00"),
        (("jobs", "a", "env", "A B"), '"A B"', '"A B"'),
        (("jobs", "list", 0, "n"), "n", "1"),
        (("jobs", "list", 1, "n"), "n", "22"),
        (("jobs", "list", 1, "sub", "m"), "m", "333"),
        (("jobs", "a", "nowhere", 3), "a", "a"),
    ],
    ids=lambda value: repr(value),
)
def test_a_place_in_a_text_of_all_sorts(path: tuple[str | int, ...], key: str, value: str) -> None:
    root = scan(TEXT)
    named = path[: max(index for index, part in enumerate(path) if isinstance(part, str)) + 1]
    assert [text_at(find(root, named, at_key=True)), text_at(find(root, path))] == [key, value]


TEXT_1_1 = """\
retry = { # }
  max = 3, # ,
  "a\\e\\x41" . b = [
    { c = 07:32, d = 1979-05-27 07:32 }, 22,
  ],
}
after = 1979-05-27T07:32Z
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("retry", "max"), "max", "3"),
        (("retry", "a\x1bA", "b", 0, "c"), "c", "07:32"),
        (("retry", "a\x1bA", "b", 0, "d"), "d", "1979-05-27 07:32"),
        (("retry", "a\x1bA", "b", 1), "b", "22"),
        (("retry", "a\x1bA"), '"a\\e\\x41"', '"a\\e\\x41"'),
        (("after",), "after", "1979-05-27T07:32Z"),
    ],
    ids=lambda value: repr(value),
)
def test_a_place_in_a_text_that_only_toml_1_1_allows(
    path: tuple[str | int, ...], key: str, value: str
) -> None:
    root = scan(TEXT_1_1)
    named = path[: max(index for index, part in enumerate(path) if isinstance(part, str)) + 1]
    assert TEXT_1_1[slice(*find(root, named, at_key=True))] == key
    assert TEXT_1_1[slice(*find(root, path))] == value


def test_a_table_is_placed_at_its_own_header_and_not_at_one_inside_it() -> None:
    start, _ = find(scan(TEXT), ("jobs", "a"), at_key=True)
    assert start == TEXT.index("[jobs.a]\nretry") + len("[jobs.")


def test_deep_nesting_and_long_dotted_keys_neither_recurse_nor_explode() -> None:
    depth = 20_000
    above = f"x = {'[' * depth}{']' * depth}\n"
    text = above + ".".join("a" * depth) + " = 1\n"
    assert find(scan(text), ("a",) * depth) == (len(text) - 2, len(text) - 1)


def text_at(span: tuple[int, int]) -> str:
    return TEXT[slice(*span)]
