"""The known word that a mistyped one was meant to be, or none: a wrong suggestion is worse than none.

Typing errors are counted as Damerau-Levenshtein distance: an extra, missing or wrong letter, or two swapped
ones. Few errors are in the first letter, and a short word with an error is often another word: "top" is not
"stop", and "CEST" is not "EST".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Longer words are cut off at this many characters.
_LONGEST = 80
#: From this many letters on, the first may be wrong, too.
_LONG = 5
#: At least this many letters are accepted as an abbreviation.
_SHORTENED = 3
#: So many known words are listed if none is near.
_FEW = 8
#: With more candidates than this, a suggestion would be a guess, and slow to find.
_MOST_ALIKE = 2_000
#: Answers for more words are not kept: they would take as much memory as the names of all jobs.
_MOST_REMEMBERED = 500


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the word of `known` that was probably meant; None if there is none, or several."""
    names = tuple(known)
    find = _nearest if len(names) <= _MOST_REMEMBERED else _nearest.__wrapped__
    return find(word[:_LONGEST], names)


@lru_cache(maxsize=256)  # a hundred thousand jobs may have the same mistake
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    given = _folded(word)
    if not given:
        return None
    is_long = len(given) >= _SHORTENED
    limit = most_errors(len(given))
    alike: list[tuple[str, str]] = []
    begun: set[str] = set()
    for name in known:
        folded = _folded(name[:_LONGEST])
        if folded == given:
            return name
        if is_long and folded.startswith(given):
            begun.add(name)
        if abs(len(folded) - len(given)) <= limit and _may_begin(given, folded):
            alike.append((folded, name))
    best, found = limit, set[str]()
    if len(alike) <= _MOST_ALIKE:
        for folded, name in alike:
            errors = typing_errors(given, folded, most=best)
            if errors < best:
                best, found = errors, {name}
            elif errors == best and best:
                found.add(name)
    if len({name.removesuffix("s") for name in found}) == 1:  # one word and its plural
        found = {name for name in found if name.endswith("s") == given.endswith("s")} or found
    if len(found) != 1:
        found = (found & begun) or found or begun
    return found.pop() if len(found) == 1 else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for the known word that was probably meant, or nothing."""
    near = nearest(word, known)
    return "" if near is None else f" (did you mean {quoted(near)}?)"


def meant_or_known(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)`, or the known words if they are few, or nothing."""
    words = sorted(known)
    if (hint := did_you_mean(word, words)) or not 0 < len(words) <= _FEW:
        return hint
    return f" (known: {', '.join(words)})"


def most_errors(length: int) -> int:
    """Return how many errors a word of this length may have and still be recognised."""
    return (length >= 3) + (length >= 6) + (length >= 10)


def typing_errors(given: str, meant: str, *, most: int) -> int:
    """Count the errors between two words; more than `most` are `most + 1`."""
    if abs(len(given) - len(meant)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(given, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(meant, 1):
            errors = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == meant[j - 2] and given[i - 2] == other:
                errors = min(errors, earlier[j - 2] + 1)
            row.append(errors)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def _folded(word: str) -> str:
    """Normalise case and separators."""
    # Five times as fast as str.translate: there may be a hundred thousand names.
    return word.lower().replace("-", "").replace("_", "").replace(" ", "").replace(".", "")


def _may_begin(given: str, meant: str) -> bool:
    """Tell whether the first letters are similar enough."""
    is_swapped = given[:2] == meant[1::-1]
    return given[0] == meant[0] or is_swapped or min(len(given), len(meant)) >= _LONG
