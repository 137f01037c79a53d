"""Lines of INI files: the units of systemd, and ofelia's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTION = re.compile(r"\[(?P<name>[^\]]*)\]\s*(?:[#;].*)?")


@dataclass(frozen=True, slots=True)
class Setting:
    """A line `KEY=VALUE`."""

    #: Of the section, as written.
    section: str
    key: str
    value: str
    #: From 1.
    line: int


@dataclass(frozen=True, slots=True)
class BadSetting:
    """A line that is none."""

    line: int
    text: str
    section: str


def read_settings(text: str) -> Iterator[Setting | BadSetting]:
    """Yield the settings of a text; a line that ends in a backslash goes on in the next one."""
    section = ""
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    for number, line in lines:
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        while bare.endswith("\\"):
            _, more = next(lines, (0, ""))
            while more.lstrip()[:1] in ("#", ";"):
                _, more = next(lines, (0, ""))
            bare = f"{bare[:-1].rstrip()} {more.strip()}"
        if match := _SECTION.fullmatch(bare):
            section = match["name"].strip()
            continue
        key, separator, value = bare.partition("=")
        if not separator or not key.strip() or not section:
            yield BadSetting(number, bare, section)
            continue
        yield Setting(section, key.strip(), value.strip(), number)
