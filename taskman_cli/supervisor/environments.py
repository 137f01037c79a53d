"""Environments of commands: the scheduler tells those that many starts share once, and they are encoded once.

To read and encode all variables again was a sixth of what this process does for a start.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Environment:
    """The variables of a command."""

    __slots__ = ("_encoded", "_is_used", "search_path", "variables")

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        #: Where programs are looked for.
        self.search_path = variables.get("PATH", os.defpath)
        self._is_used = False
        #: As os.posix_spawn takes them at once; empty: they are still to be encoded.
        self._encoded: Mapping[Any, Any] = {}

    def with_told(self, told: Mapping[str, str]) -> dict[str, str]:
        """Return all variables, with those that a start adds."""
        return {**self.variables, **told}

    def for_spawn(self, told: Mapping[str, str]) -> Mapping[Any, Any]:
        """Return the same for os.posix_spawn. Raises TypeError if one is no text.

        To encode them takes ten times as long here as there, so it is not done for what is used once.
        """
        if not self._is_used:
            self._is_used = True
            return self.with_told(told) if told else self.variables
        if not self._encoded:
            self._encoded = {os.fsencode(name): os.fsencode(value) for name, value in self.variables.items()}
        return {**self._encoded, **told} if told else self._encoded


class SharedEnvironments:
    """Those that starts name by their numbers."""

    def __init__(self) -> None:
        self._known: dict[int, Environment] = {}

    def take(self, number: int, variables: Mapping[str, str]) -> None:
        """Keep one, in the place of the one that had its number, even if nothing can be kept."""
        self._known.pop(number, None)
        self._known[number] = Environment(variables)

    def look_up(self, spec: Any) -> None:
        """Put the environment in the place of its number in `spec`, for later: another may have it then."""
        if isinstance(spec, dict) and isinstance(spec.get("env"), int):
            spec["env"] = self._known.get(spec["env"])

    def find(self, said: int | dict[str, str] | Environment | None) -> Environment | None:
        """Return the environment that a spec means; None: it has not arrived."""
        if isinstance(said, int):
            return self._known.get(said)
        return Environment(said) if isinstance(said, dict) else said
