"""What all executors of an instance share: who it is, where files may be, what programs must not inherit."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.launch.environment import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an executor is made with, beside its definition."""

    #: The name of the scheduler; "": it is the default one.
    instance: str = ""
    #: What tells the ledger from all others.
    ledger: str = ""
    state_directory: Path = Path("/nonexistent")
    #: For files of this executor alone, which outlive it; it is there, and nobody else gets in.
    directory: Path = Path("/nonexistent")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    #: The variables that are secrets of sinks: no program that an executor starts gets them.
    hidden: frozenset[str] = frozenset()

    @classmethod
    def of(cls, facts: Mapping[str, Any], executor: str) -> Surroundings:
        """Return those that the scheduler tells of, for an executor of this name."""
        state = Path(facts["state_directory"])
        return cls(
            instance=facts["instance"],
            ledger=facts["ledger"],
            state_directory=state,
            directory=state / "executors" / executor,
            hidden=frozenset(facts["hidden"]),
        )

    def inherited(self) -> dict[str, str]:
        """Return the environment of the programs that an executor starts for itself."""
        return {
            name: value
            for name, value in self.environ.items()
            if name not in self.hidden and name not in PRIVATE
        }
