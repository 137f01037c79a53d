"""Rows in columns: which columns fit, how wide each one is, and the layout of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment

from taskman_cli.ui.text import Line, fit

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its minimum and maximum width in cells; with `most` 0 it is left out."""

    least: int
    most: int
    right: bool = False
    #: If not all fit, the column with the highest number is left out first; 0 always stays.
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns with their widths; 0 means left out."""

    columns: Sequence[Column]
    widths: tuple[int, ...]
    gap: str

    def line(self, *cells: Line) -> Line:
        """Return one row with a cell for each column."""
        whole: Line = []
        for column, width, cell in zip(self.columns, self.widths, cells, strict=True):
            if width:
                if whole:
                    whole.append(Segment(self.gap))
                whole += fit(cell, width, right=column.right)
        return whole


def plan(columns: Sequence[Column], width: int) -> Grid:
    """Find the widths: start with the minimum, leave out what does not fit, then widen columns in order."""
    kept = [column for column in columns if column.most]

    def room(gap: str) -> int:
        return width - sum(column.least for column in kept) - len(gap) * (len(kept) - 1)

    gap = "  " if room("  ") >= 0 else " "
    while room(gap) < 0 and (rank := max(column.rank for column in kept)):
        kept = [column for column in kept if column.rank != rank]
    left = max(room(gap), 0)
    widths = []
    for column in columns:
        grown = min(left, column.most - column.least) if column in kept else 0
        widths.append(column.least + grown if column in kept else 0)
        left -= grown
    return Grid(columns=columns, widths=tuple(widths), gap=gap)
