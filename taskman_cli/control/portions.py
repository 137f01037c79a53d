"""A long reply that is made in portions, between the turns of the loop: one line as any other.

Its `ok` is at its end, since what goes wrong on the way is known only then. Between two portions is a tab,
which is nowhere else in a line: so a client can take what has come in parts (`lines.Lines.take_part`).
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from taskman_cli.control.lines import BETWEEN
from taskman_cli.errors import EXIT_FAILED, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("taskman.control")

#: What a client is told whose request raised an exception.
INTERNAL_ERROR = "internal error; see the scheduler's log"

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def encode_reply(reply: Mapping[str, Any]) -> bytes:
    """Write a reply as a line."""
    return _ENCODER.encode(reply).encode() + b"\n"


class LongReply:
    """A reply with one list, whose items come in portions."""

    def __init__(self, name: str, portions: Iterator[list[Any]], *, about: str) -> None:
        """`about` says for the log whose it is."""
        self._name = name
        self._portions = portions
        self._about = about
        self._has_begun = self._has_items = False
        self.is_over = False

    def piece(self) -> bytes:
        """Make the next portion, and return its part of the line."""
        start = b"" if self._has_begun else f'{{"{self._name}":['.encode()
        self._has_begun = True
        try:
            items = next(self._portions, None)
            text = "" if items is None else _ENCODER.encode(items)[1:-1]
        except Refused as refusal:
            again = {"again": True} if refusal.may_repeat else {}
            return start + self._end({"ok": False, "error": str(refusal), "code": refusal.exit_code} | again)
        except Exception:
            # One item that is broken ends neither the loop nor the connection.
            logger.exception("control: %s failed", self._about)
            return start + self._end({"ok": False, "error": INTERNAL_ERROR, "code": EXIT_FAILED})
        if items is None:
            return start + self._end({"ok": True})
        if text and self._has_items:
            start += BETWEEN
        self._has_items |= bool(text)
        return start + text.encode()

    def _end(self, rest: Mapping[str, Any]) -> bytes:
        self.is_over = True
        return b"]," + encode_reply(rest)[1:]
