"""What all sinks of a process share: its environment, whose files it trusts, how durable lines have to be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskman_cli.launch.environment import PRIVATE
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a sink is made with, beside its definition."""

    #: Where secrets are looked up.
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    #: The variables that are secrets of any sink: no program that a sink starts gets them.
    hidden: frozenset[str] = frozenset()
    #: Whose files may decide what we do.
    trust: Trust = field(default_factory=lambda: standing_trust(os.environ))
    #: What is written survives a power cut: `[taskman] durability = "power"`.
    is_durable: bool = False

    def inherited(self) -> dict[str, str]:
        """Return the environment of the programs that sinks start."""
        return {
            name: value
            for name, value in self.environ.items()
            if name not in self.hidden and name not in PRIVATE and name != _CREDENTIALS
        }


#: Where the secrets are that systemd hands over.
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
