"""The types of the columns that `history` reads, and rows that do not have them.

SQLite does not check types when it reads; a damaged file may contain anything.
"""

from __future__ import annotations

from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any

from taskman_cli.core.model import State
from taskman_cli.ledger.values import MOST_RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = tuple[Any, ...]

_Types = frozenset[type]
_INT: _Types = frozenset({int})
_TEXT: _Types = frozenset({str})
_INT_OR_NONE: _Types = frozenset({int, NoneType})
_TEXT_OR_NONE: _Types = frozenset({str, NoneType})
_NUMBER_OR_NONE: _Types = frozenset({int, float, NoneType})

#: What the columns of a run, an attempt and a skip hold.
_OF_RUN = (
    _INT, _TEXT, _TEXT, _INT_OR_NONE, _TEXT, _TEXT, _INT, _INT_OR_NONE, _TEXT_OR_NONE,
)  # fmt: skip
_OF_ATTEMPT = (
    _TEXT, _INT, _TEXT, _INT, *[_INT_OR_NONE] * 5, _NUMBER_OR_NONE, _INT_OR_NONE, _INT_OR_NONE, _TEXT_OR_NONE,
    _INT_OR_NONE, _INT_OR_NONE, _TEXT_OR_NONE,
)  # fmt: skip
_OF_SKIP = (_INT, _TEXT, _TEXT, _INT, _INT, _INT_OR_NONE, _TEXT, _TEXT, _INT_OR_NONE, _INT)
_NONE: _Types = frozenset({NoneType})
_NOTHING = (_NONE,) * len(_OF_ATTEMPT)
RUN_COLUMNS = len(_OF_RUN)
_STATES = frozenset(map(str, State))


class RowFilter:
    """Lets rows through that a version of taskman wrote, and counts the others."""

    def __init__(self) -> None:
        #: So many so far.
        self.count = 0

    def among_runs(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of runs, each with an attempt or without, that can be read."""
        for row in rows:
            run, attempt = row[:RUN_COLUMNS], row[RUN_COLUMNS:]
            types = _NOTHING if attempt[0] is None else _OF_ATTEMPT
            if (
                _fits(run, _OF_RUN)
                and _fits(attempt, types)
                and 0 <= run[0] <= MOST_RUN
                and run[5] in _STATES
                and (attempt[2] is None or attempt[2] in _STATES)
            ):
                yield row
            else:
                self.count += 1

    def among_skips(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of skips that can be read."""
        for row in rows:
            if _fits(row, _OF_SKIP) and (row[8] is None or 0 <= row[8] <= MOST_RUN):
                yield row
            else:
                self.count += 1


def _fits(row: Row, types: tuple[_Types, ...]) -> bool:
    return _fit(tuple(map(type, row)), types)


@lru_cache(maxsize=1024)  # rows are many, and their kinds few
def _fit(found: tuple[type, ...], types: tuple[_Types, ...]) -> bool:
    return all(one in some for one, some in zip(found, types, strict=True))
