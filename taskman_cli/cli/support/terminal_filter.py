r"""The output of a command as a terminal may have it: text, and colours. Pure: bytes in, text out.

All else that steers a terminal is written out, as `\x1b` is: a command could otherwise move the cursor and
hide what it did, change the title, or have the terminal answer as if somebody typed.
"""

from __future__ import annotations

import codecs
import re

from taskman_cli.core.escapes import printable

#: "Select graphic rendition": colours, bold and the like.
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,60}m")
#: The end of a piece that the next may make a colour, or the end of a line.
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,60})?|\r)\Z")
_KEPT = re.compile(rf"({_COLOUR.pattern}|\r?\n)")
_RESETS = frozenset({"\x1b[m", "\x1b[0m"})
RESET = "\x1b[0m"


class TerminalFilter:
    """Takes an output piece by piece, wherever it is cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""
        self._is_coloured = False

    def feed(self, data: bytes) -> str:
        """Return what is to be shown of the next piece."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        return self._shown(text[:end])

    def end(self) -> str:
        """Return what is left to be shown, and no colours after it."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        shown = self._shown(text)
        if self._is_coloured:
            self._is_coloured = False
            shown += RESET
        return shown

    def _shown(self, text: str) -> str:
        parts = _KEPT.split(text)
        # Every second one is kept as it is.
        for index in range(1, len(parts), 2):
            if parts[index][0] == "\x1b":
                self._is_coloured = parts[index] not in _RESETS
        parts[::2] = [printable(part, kept="\t") for part in parts[::2]]
        return "".join(parts)
