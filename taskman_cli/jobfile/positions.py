"""The positions of keys and values in a TOML text.

The parser does not report them. This scanner runs only when there is an error to place, on text that the
parser has accepted, so it checks nothing and only finds where things end. It keeps its own stack and a tree
of nodes (not a map of paths), so that neither deep nesting nor long dotted keys are a problem.
"""

from __future__ import annotations

import re

import tomli

from taskman_cli.jobfile.problems import TreePath

#: Start and end in the text, from 0, the end not included.
Span = tuple[int, int]

_BASIC = r'"(?:[^"\\\n]++|\\.)*+"'
_LITERAL = r"'[^'\n]*'"
_SKIP = re.compile(r"(?:[ \t\n,]+|#[^\n]*)*")
_KEY = re.compile(rf"[A-Za-z0-9_-]+|{_BASIC}|{_LITERAL}")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_BLANK = re.compile(r"[ \t]*")
_SCALAR = re.compile(
    # A multi-line string may end in up to five quotes; the last three close it.
    r'"""(?:[^"\\]+|\\.|""?(?!"))*"{3,5}'
    r"|'''(?:[^']+|''?(?!'))*'{3,5}"
    rf"|{_BASIC}|{_LITERAL}"
    r"|\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*"
    r"|[^\s,\]}#]+",
    re.DOTALL,
)


class Node:
    """A key, table, array or value, and its children."""

    __slots__ = ("children", "key", "tables", "value")

    def __init__(self) -> None:
        self.children: dict[str | int, Node] = {}
        #: The span of the key (the last part of a dotted one); None for an array item.
        self.key: Span | None = None
        #: The span of the value; None for a table with headers or dotted keys only.
        self.value: Span | None = None
        #: How many `[[headers]]` this array of tables has.
        self.tables = 0

    def child(self, part: str | int) -> Node:
        """Return the child node, created if needed."""
        return self.children.setdefault(part, Node())


def scan(text: str) -> Node:
    """Return the tree of a text that the parser accepts, its line ends made `\\n`."""
    return _walk(text)[0]


def unclosed(text: str) -> tuple[int, int]:
    """Return where the innermost bracket opens that is never closed, and where the last item ends.

    `text` is what the parser has accepted before it found that out.
    """
    _, open_, last = _walk(text)
    return open_[-1][2], last


def deepest(text: str, depth: int) -> Span:
    """Return the span of the first table or array below `depth` others; there must be one."""
    level = [_walk(text)[0]]
    for _ in range(depth):
        level = [child for node in level for child in node.children.values()]
    node = next(one for one in level if one.value is None or text[one.value[0]] in "[{")
    span = node.key or node.value
    assert span is not None, "what is no item of an array has a key"
    return span


def _walk(text: str) -> tuple[Node, list[tuple[Node, str, int]], int]:
    """Return the tree, the brackets that are open at the end, and where the last item ends."""
    root = Node()
    table = root
    # The arrays and inline tables around the position: node, closing bracket, where it opened.
    open_: list[tuple[Node, str, int]] = []
    at = 0
    while True:
        last = at
        at = _end(_SKIP, text, at)
        if at == len(text):
            return root, open_, last
        if open_ and text[at] == open_[-1][1]:
            node, _, start = open_.pop()
            at += 1
            node.value = (start, at)
            continue
        if open_ and open_[-1][1] == "]":
            node = open_[-1][0].child(len(open_[-1][0].children))
        elif text[at] == "[" and not open_:
            table, at = _header(text, at, root)
            continue
        else:
            node, at = _keys(text, at, open_[-1][0] if open_ else table)
            at = _end(_EQUALS, text, at)
        if text[at] in "[{":
            open_.append((node, "]" if text[at] == "[" else "}", at))
            at += 1
        else:
            end = _end(_SCALAR, text, at)
            node.value = (at, end)
            at = end


def find(root: Node, path: TreePath, *, at_key: bool = False) -> Span:
    """Return the span of a key or its value, or else of the nearest thing around it that has one."""
    nearest: Span = (0, 0)
    node = root
    for part in path:
        if part not in node.children:
            return nearest
        node = node.children[part]
        nearest = node.key or node.value or nearest
    return nearest if at_key else node.value or nearest


def _header(text: str, at: int, root: Node) -> tuple[Node, int]:
    """Read `[a.b]` or `[[a.b]]` and return the table it opens and the position after it."""
    brackets = 2 if text.startswith("[[", at) else 1
    at = _end(_BLANK, text, at + brackets)
    node = root
    while True:
        end = _end(_KEY, text, at)
        if node.tables:
            node = node.children[node.tables - 1]
        node = node.child(_name(text[at:end]))
        node.key = node.key or (at, end)
        dot = _DOT.match(text, end)
        if dot is None:
            break
        at = dot.end()
    if brackets == 2:
        node.tables += 1
        node = node.child(node.tables - 1)
    # The header of a table is a better place for it than the header of something inside.
    node.key = (at, end)
    return node, _end(_BLANK, text, end) + brackets


def _keys(text: str, at: int, node: Node) -> tuple[Node, int]:
    """Read the dotted key of a value and return its node and the position after it."""
    while True:
        end = _end(_KEY, text, at)
        node = node.child(_name(text[at:end]))
        node.key = node.key or (at, end)
        dot = _DOT.match(text, end)
        if dot is None:
            return node, end
        at = dot.end()


def _name(raw: str) -> str:
    if raw[0] not in "\"'":
        return raw
    if raw[0] == "'" or "\\" not in raw:
        return raw[1:-1]
    name: str = tomli.loads(f"name = {raw}")["name"]
    return name


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None, f"no {pattern.pattern} at {at}: {text[at : at + 20]!r}"
    return match.end()
