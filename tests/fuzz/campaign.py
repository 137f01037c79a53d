"""What all fuzzers share: cases that a seed makes until the time is over, and what was found.

A case has a number, and is made from the seed and that number alone: `--only NUMBER` makes it again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What takes longer hangs, on a machine that has nothing else to do.
_PATIENCE_S = 5.0
#: With more faults than these nobody needs the rest.
ENOUGH_FAULTS = 40


@dataclass
class Campaign:
    """One fuzzer at work."""

    seed: int
    seconds: float
    #: The only case to make; None: as many as there is time for.
    only: int | None = None
    #: As many cases, however long they take; None: as many as there is time for.
    most: int | None = None
    is_verbose: bool = False
    cases: int = 0
    faults: list[str] = field(default_factory=list)

    def chances(self) -> Iterator[tuple[int, random.Random]]:
        """Give each case its number and its chance."""
        deadline = time.monotonic() + self.seconds
        number = 0 if self.only is None else self.only
        while self.only is not None or (self._is_going_on(deadline) and len(self.faults) < ENOUGH_FAULTS):
            yield number, random.Random(f"{self.seed}:{number}")
            self.cases += 1
            number += 1
            if self.only is not None:
                return

    def _is_going_on(self, deadline: float) -> bool:
        return time.monotonic() < deadline if self.most is None else self.cases < self.most

    def fault(self, number: int, what: str, about: object = "") -> None:
        """Note what went wrong in a case."""
        words = f"case {number}: {what}: {about}"
        self.faults.append(words)
        if self.is_verbose:
            print(words, flush=True)


def patience_s() -> float:
    """Return how long anything may take: as many times longer as there are more processes than processors."""
    return _PATIENCE_S * min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def main(fuzz: Callable[[Campaign], None], doc: str | None) -> int:
    """Run a fuzzer from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, help="so many cases, however long they take")
    parser.add_argument("--only", type=int, help="make this case alone")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    campaign = Campaign(arguments.seed, arguments.seconds, arguments.only, arguments.cases, is_verbose=True)
    fuzz(campaign)
    print(f"{campaign.cases} cases, {len(campaign.faults)} faults", flush=True)
    sys.stdout.flush()
    return 1 if campaign.faults else 0


def seconds_in_the_suite() -> float | None:
    """Return how long a fuzzer is to take in the suite by TASKMAN_FUZZ_S; None: as long as its cases take."""
    return float(os.environ["TASKMAN_FUZZ_S"]) if "TASKMAN_FUZZ_S" in os.environ else None
