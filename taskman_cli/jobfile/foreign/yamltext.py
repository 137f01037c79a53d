"""YAML as plain values with their lines: bounded, and nothing in it is carried out.

Scalars stay the text that they are: what a key means decides whether `yes` or `1.10` is a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_BYTES = 1 << 20
_DEEPEST = 50
#: The most values, with those that aliases repeat.
_MOST = 100_000
_MERGE = "<<"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class NotYaml(ValueError):
    """A text is no YAML, or none that is taken."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Text(str):
    """A scalar."""

    __slots__ = ("line",)
    line: int


class Items(list["Value"]):
    """A sequence."""

    __slots__ = ("line",)
    line: int


class Table(dict[str, "Value"]):
    """A mapping."""

    __slots__ = ("line", "lines")
    line: int
    #: The line of each key.
    lines: dict[str, int]


Value = Text | Items | Table | None


@dataclass(slots=True)
class _Open:
    """A sequence or mapping that is being read."""

    value: Items | Table
    anchor: str | None
    #: The key whose value comes next.
    key: Text | None = None
    weight: int = 1
    merged: list[Table] = field(default_factory=list)


def read_documents(data: bytes) -> list[Value]:
    """Return the documents of a YAML file; raises NotYaml, and ImportError without PyYAML."""
    import yaml  # imported late: only a few imports need it

    if len(data) > _LARGEST_BYTES:
        raise NotYaml(1, f"larger than {_LARGEST_BYTES >> 20} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise NotYaml(line, f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8") from None
    try:
        return list(_documents(yaml, text.removeprefix("\ufeff")))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml(line, f"the character {quoted(chr(error.character))} is not allowed in YAML") from None
    except NotYaml as error:
        raise NotYaml(error.line, error.message + _hint(text)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = f"not valid YAML: {error.problem or error.context}{_hint(text)}"
        raise NotYaml(1 if mark is None else mark.line + 1, words) from None
    except RecursionError:
        raise NotYaml(1, "nested too deeply") from None


def _hint(text: str) -> str:
    return "; render a template of Helm first: helm template" if "{{" in text else ""


def _documents(yaml: Any, text: str) -> Iterator[Value]:
    builder = _Builder()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if it was built
    for number, event in enumerate(yaml.parse(text, Loader=loader)):
        line = event.start_mark.line + 1
        if number > 2 * _MOST:
            raise NotYaml(line, f"more than {_MOST:,} values")
        match type(event).__name__:
            case "DocumentStartEvent":
                builder = _Builder()
            case "DocumentEndEvent":
                yield builder.root
            case "AliasEvent":
                builder.alias(event.anchor, line)
            case "ScalarEvent":
                _refuse_tag(event, line)
                builder.scalar(event.value, event.anchor, line, is_plain=event.style is None)
            case "SequenceStartEvent":
                _refuse_tag(event, line)
                builder.open(Items(), event.anchor, line)
            case "MappingStartEvent":
                _refuse_tag(event, line)
                builder.open(Table(), event.anchor, line)
            case "SequenceEndEvent" | "MappingEndEvent":
                builder.close(line)


def _refuse_tag(event: Any, line: int) -> None:
    tag = event.tag
    if tag and tag != "!" and not tag.startswith("tag:yaml.org,2002:"):
        raise NotYaml(line, f"the tag {quoted(tag)} is not known")
    if tag and tag.startswith("tag:yaml.org,2002:python/"):
        raise NotYaml(line, f"the tag {quoted(tag)} is not taken")


class _Builder:
    """Assembles one document from events."""

    def __init__(self) -> None:
        self.root: Value = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Value, int]] = {}
        self._total = 0

    def scalar(self, text: str, anchor: str | None, line: int, *, is_plain: bool) -> None:
        """Add a scalar."""
        value: Text | None = Text(text)
        assert value is not None
        value.line = line
        top = self._stack[-1] if self._stack else None
        is_key = top is not None and isinstance(top.value, Table) and top.key is None
        if is_plain and text in _NULLS and not is_key:
            value = None
        if anchor:
            self._anchors[anchor] = value, 1
        self._add(value, 1, line)

    def alias(self, anchor: str, line: int) -> None:
        """Add what an anchor stands for."""
        if anchor not in self._anchors:
            raise NotYaml(line, f"*{anchor} refers to nothing above it, or to itself")
        self._add(*self._anchors[anchor], line)

    def open(self, value: Items | Table, anchor: str | None, line: int) -> None:
        """Begin a sequence or mapping."""
        value.line = line
        if isinstance(value, Table):
            value.lines = {}
        if len(self._stack) >= _DEEPEST:
            raise NotYaml(line, f"nested more than {_DEEPEST} deep")
        self._stack.append(_Open(value, anchor))

    def close(self, line: int) -> None:
        """End a sequence or mapping."""
        done = self._stack.pop()
        if isinstance(done.value, Table):
            for other in done.merged:
                for key, value in other.items():
                    if key not in done.value:
                        done.value[key] = value
                        done.value.lines[key] = other.lines[key]
        if done.anchor:
            self._anchors[done.anchor] = done.value, done.weight
        self._add(done.value, done.weight, line)

    def _add(self, value: Value, weight: int, line: int) -> None:
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        top.weight += weight
        self._total = max(self._total, top.weight)
        if self._total > _MOST:
            raise NotYaml(line, f"more than {_MOST:,} values, with those that aliases repeat")
        if isinstance(top.value, Items):
            top.value.append(value)
        elif top.key is None:
            if not isinstance(value, Text):
                raise NotYaml(line, "a key is a word, not a list, a mapping or nothing")
            if value in top.value:
                raise NotYaml(line, f"the key {quoted(value)} is there twice")
            top.key = value
        else:
            self._set(top, top.key, value, line)
            top.key = None

    def _set(self, top: _Open, key: Text, value: Value, line: int) -> None:
        assert isinstance(top.value, Table)
        if key != _MERGE:
            top.value[key] = value
            top.value.lines[key] = key.line
            return
        for other in value if isinstance(value, Items) else [value]:
            if not isinstance(other, Table):
                raise NotYaml(line, "<< takes a mapping, or a list of them")
            top.merged.append(other)
