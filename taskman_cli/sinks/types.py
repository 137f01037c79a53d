"""Makes sinks of their definitions: those that come with taskman, and entry points.

Each is guarded: what goes wrong in it comes out as DeliveryFailed, in words without a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from taskman_cli.core.escapes import printable
from taskman_cli.core.sinks import MAILTO, SINK_TYPES, is_source
from taskman_cli.sinks.base import DeliveryFailed, NotReached
from taskman_cli.sinks.secrets import Secrets
from taskman_cli.sinks.surroundings import Surroundings

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition, Value
    from taskman_cli.sinks.base import Message, Sink

#: The group of entry points for further types.
GROUP = "taskman.sinks"
#: Nobody reads more of an error.
_LONGEST = 500


class Guarded:
    """A sink whose errors are all DeliveryFailed, and have no secret in them."""

    def __init__(self, sink: Sink, secrets: Secrets, *, sources: Sequence[Value] = ()) -> None:
        """Take the sources of secrets that it looks up itself."""
        self._sink = sink
        self._secrets = secrets
        self._sources = sources

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Deliver a message."""
        for source in self._sources:
            with suppress(DeliveryFailed):
                self._secrets.reveal(source, "")
        try:
            return self._said(self._sink.deliver(message, timeout_s))
        except DeliveryFailed as error:
            failed = DeliveryFailed(
                self._said(error),
                retry_after_s=error.retry_after_s,
                is_final=error.is_final,
                is_down=error.is_down,
            )
        except OSError as error:
            failed = NotReached(self._said(error.strerror or error) or "no answer in time")
        except Exception as error:  # a type of somebody else's: it ends this delivery only
            failed = DeliveryFailed(self._said(f"{type(error).__name__}: {error}"))
        # Outside of the handlers, so that no traceback shows what went before.
        raise failed

    def _said(self, words: object) -> str:
        return printable(self._secrets.scrub(str(words)))[:_LONGEST]

    def close(self) -> None:
        """Let go of what it holds, as far as it can."""
        try:
            self._sink.close()
        except Exception:  # nothing can be done about it
            return


def make(definition: SinkDefinition, surroundings: Surroundings | None = None) -> Sink:
    """Make a sink; raises ValueError, in words, if there is no such type or its settings are wrong."""
    around = Surroundings() if surroundings is None else surroundings
    secrets = Secrets(around)
    if definition.type in SINK_TYPES:
        # Each is imported only where it is used: mail and TLS take long.
        module = import_module(f"taskman_cli.sinks.{definition.type}")
        sink: Sink = module.make(definition, around, secrets)
        return Guarded(sink, secrets)
    if definition.type == MAILTO:
        from taskman_cli.sinks import mailto

        return Guarded(mailto.make(definition, around, secrets), secrets)
    found = list(entry_points(group=GROUP, name=definition.type))
    if not found:
        raise ValueError(f'there is no sink of type "{printable(definition.type)}": no package brings it')
    try:
        return Guarded(found[0].load()(definition), secrets, sources=[*_sources(definition.settings)])
    except ValueError:
        raise
    except Exception as error:  # somebody else's code
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f'{found[0].value}, which brings "{definition.type}", fails: {reason}') from error


def _sources(value: object) -> Iterator[Value]:
    if is_source(value):
        yield cast("Value", value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sources(item)


def known_types() -> tuple[str, ...]:
    """Return the types that there are on this machine."""
    return (*SINK_TYPES, *sorted({point.name for point in entry_points(group=GROUP)} - {*SINK_TYPES}))
