"""What running attempts hold of the resources, and whether one more fits; starts on a resource with a rate.

All that an attempt needs is held from its start to its end, or nothing. A rate is a token bucket: it holds
`burst` when it is full, and each start takes from it what the attempt needs of the resource. A bucket is one
number, the instant at which it is full again; so it fills without a timer. That is never later than from
empty: where another rate is set, or the number is by a clock that was wrong, it is put right once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.marks import RateUsed
from taskman_cli.core.protocol import LAST_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.model import Amounts, Resource


class Resources:
    """The resources of the pool."""

    def __init__(self, resources: Iterable[tuple[str, Resource]]) -> None:
        self.known: dict[str, Resource] = dict(resources)
        #: What running attempts hold of each.
        self.held: dict[str, int] = {}
        #: When the bucket of each rate is full again, on the elapsed clock; absent: it is full.
        self._full_ns: dict[str, int] = {}
        self._scarce: dict[Amounts, Amounts] = {}

    def configure(self, resources: Iterable[tuple[str, Resource]], elapsed_ns: int) -> list[RateUsed]:
        """Use other limits and rates; return marks of the buckets that have changed.

        What is held stays held, even if it is more than a limit. What a bucket lacks comes at the new rate.
        """
        before, self.known = self.known, dict(resources)
        self._scarce.clear()
        marks = []
        for name, resource in self.known.items():
            known, full_ns = before.get(name), self._full_ns.get(name, elapsed_ns)
            if resource == known or resource.rate is None or full_ns <= elapsed_ns:
                continue
            lacks_ns = full_ns - elapsed_ns
            if known is not None and known.rate is not None:
                lacks_ns = -(-lacks_ns * known.rate * resource.per_ns // (known.per_ns * resource.rate))
            self._full_ns[name] = elapsed_ns + min(lacks_ns, cost_ns(resource, resource.burst))
            if self._full_ns[name] != full_ns:
                marks.append(RateUsed(name, self._full_ns[name]))
        return marks

    def scarce(self, amounts: Amounts) -> Amounts:
        """Return those of `amounts` that may have to be waited for: with a limit or a rate."""
        found = self._scarce.get(amounts)
        if found is None:
            known = [(self.known.get(name), (name, amount)) for name, amount in amounts]
            found = self._scarce[amounts] = tuple(
                need for one, need in known if one and (one.limit is not None or one.rate is not None)
            )
        return found

    @property
    def has_rates(self) -> bool:
        """Tell whether an attempt may have to wait for a rate."""
        return any(resource.rate is not None for resource in self.known.values())

    def limit_of(self, name: str) -> int | None:
        """Return how much of a resource may be held together; None: any amount."""
        resource = self.known.get(name)
        return resource.limit if resource else None

    def needs(self, amounts: Amounts) -> Amounts:
        """Return what an attempt takes of `amounts`: all of a resource if it wants more than there is.

        The job file was checked, but a retry of a job that was changed meanwhile must not wait for ever.
        """
        return tuple((name, self._possible(name, amount)) for name, amount in amounts)

    def _possible(self, name: str, amount: int) -> int:
        resource = self.known.get(name)
        if resource is None or resource.limit is None:
            return amount
        return min(amount, resource.limit)

    def hold(self, amounts: Amounts) -> None:
        """Let an attempt hold these amounts."""
        for name, amount in amounts:
            self.held[name] = self.held.get(name, 0) + amount

    def release(self, amounts: Amounts) -> None:
        """Take back what an attempt held."""
        for name, amount in amounts:
            left = self.held[name] - amount
            if left:
                self.held[name] = left
            else:
                del self.held[name]

    def lacking(self, amounts: Amounts, reserved: Mapping[str, int], elapsed_ns: int) -> str | None:
        """Return the first resource of which there is not enough now besides what is `reserved`, or None."""
        for name, amount in amounts:
            if not self.is_free(name, amount, reserved) or (
                self.ready_ns(name, amount, reserved, elapsed_ns) > elapsed_ns
            ):
                return name
        return None

    def is_free(self, name: str, amount: int, reserved: Mapping[str, int]) -> bool:
        """Tell whether so much of a resource is neither held nor reserved."""
        resource = self.known.get(name)
        if resource is None or resource.limit is None:
            return True
        taken = self.held.get(name, 0) + reserved.get(name, 0)
        return taken + self._possible(name, amount) <= resource.limit

    def short_of(self, amounts: Amounts) -> str | None:
        """Return the first resource of which too much is held, or None."""
        return next((name for name, amount in amounts if not self.is_free(name, amount, {})), None)

    # --- rates ---

    def ready_ns(self, name: str, amount: int, reserved: Mapping[str, int], elapsed_ns: int) -> int:
        """Return when an attempt that needs so much may start, as far as the rate goes."""
        resource = self.known.get(name)
        if resource is None or resource.rate is None:
            return elapsed_ns
        wanted = min(amount, resource.burst) + reserved.get(name, 0)
        full_ns = self._full_at_ns(name, elapsed_ns)
        return max(elapsed_ns, full_ns + cost_ns(resource, wanted) - cost_ns(resource, resource.burst))

    def start(self, amounts: Amounts, elapsed_ns: int) -> list[RateUsed]:
        """Take from the buckets what an attempt needs that starts now; return marks of those that changed."""
        return self._pour(amounts, elapsed_ns, 1)

    def give_back(self, amounts: Amounts, elapsed_ns: int) -> list[RateUsed]:
        """Undo `start`: the attempt was not started after all."""
        return self._pour(amounts, elapsed_ns, -1)

    def _pour(self, amounts: Amounts, elapsed_ns: int, sign: int) -> list[RateUsed]:
        marks = []
        for name, amount in amounts:
            resource = self.known.get(name)
            if resource is None or resource.rate is None:
                continue
            full_ns = self._full_at_ns(name, elapsed_ns)
            full_ns += sign * cost_ns(resource, min(amount, resource.burst))
            self._full_ns[name] = full_ns
            marks.append(RateUsed(name, full_ns))
        return marks

    def resume(self, full_ns: Mapping[str, int], elapsed_ns: int) -> list[RateUsed]:
        """Continue with the buckets of an earlier scheduler; return marks of them, by the clocks of now."""
        for name, at_ns in full_ns.items():
            resource, most_ns = self.known.get(name), LAST_NS
            if resource is not None and resource.rate is not None:
                most_ns = elapsed_ns + cost_ns(resource, resource.burst)
            self._full_ns[name] = max(0, min(at_ns, most_ns))
        return self.restate()

    def _full_at_ns(self, name: str, elapsed_ns: int) -> int:
        """Return when a bucket is full again: now at the earliest."""
        return max(elapsed_ns, self._full_ns.get(name, elapsed_ns))

    def tokens(self, name: str, elapsed_ns: int) -> int | None:
        """Return how much may be started on at once now; None: the resource has no rate."""
        resource = self.known.get(name)
        if resource is None or resource.rate is None:
            return None
        missing_ns = self._full_at_ns(name, elapsed_ns) - elapsed_ns
        missing = -(-missing_ns * resource.rate // resource.per_ns)
        return max(0, resource.burst - missing)

    def restate(self) -> list[RateUsed]:
        """Return marks of all buckets, for a new ledger or after a step of the clock."""
        return [RateUsed(name, at_ns) for name, at_ns in self._full_ns.items()]


def cost_ns(resource: Resource, amount: int) -> int:
    """Return how long the rate takes to make up for a start that needs `amount`."""
    assert resource.rate is not None
    return -(-amount * resource.per_ns // resource.rate)
