r"""Filter the output of a command for a terminal: only text and colours pass. Pure: bytes in, text out.

Other control characters are escaped, as `\x1b`: a command could otherwise move the cursor and hide what it
did, change the title, or make the terminal send input.
"""

from __future__ import annotations

import codecs
import re

from taskman_cli.core.escapes import printable

#: "Select graphic rendition": colours, bold and so on.
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,60}m")
#: The end of a piece that may be the beginning of a colour or of the end of a line.
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,60})?|\r)\Z")
_KEPT = re.compile(rf"({_COLOUR.pattern}|\r?\n)")
_RESETS = frozenset({"\x1b[m", "\x1b[0m"})
RESET = "\x1b[0m"


class TerminalFilter:
    """Filters output that comes in pieces of any size."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""
        self._is_coloured = False

    def feed(self, data: bytes) -> str:
        """Return the text to show for the next piece."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        return self._shown(text[:end])

    def end(self) -> str:
        """Return the rest of the text, and reset colours."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        shown = self._shown(text)
        if self._is_coloured:
            self._is_coloured = False
            shown += RESET
        return shown

    def _shown(self, text: str) -> str:
        parts = _KEPT.split(text)
        # Every second part is a match, which is kept unchanged.
        for index in range(1, len(parts), 2):
            if parts[index][0] == "\x1b":
                self._is_coloured = parts[index] not in _RESETS
        parts[::2] = [printable(part, kept="\t") for part in parts[::2]]
        return "".join(parts)
