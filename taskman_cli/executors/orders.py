"""Orders and results as they travel, and what only the process of an executor can add to an order."""

from __future__ import annotations

import asyncio
import marshal
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.core.executors import CALL
from taskman_cli.executors.base import Order, StartFailed
from taskman_cli.launch.identity import identity_of
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.numbers import TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.executors.base import Result

_LONGEST_WORDS = 500
#: Each sets a field of a new order.
_FIELDS = tuple(getattr(Order, name).__set__ for name in Order.__slots__)
#: How long files of variables may take.
_READ_S = 30.0


class Layers(Mapping[str, str]):
    """An environment, made of one that many orders share, which nobody changes, and what one order adds."""

    __slots__ = ("_all", "added", "shared")

    def __init__(self, shared: dict[str, str], added: dict[str, str]) -> None:
        self.shared, self.added = shared, added
        self._all: dict[str, str] | None = None

    def _merged(self) -> dict[str, str]:
        if self._all is None:  # few look at all of it
            self._all = self.shared | self.added
        return self._all

    def __getitem__(self, name: str) -> str:
        return self._merged()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())


@lru_cache(maxsize=256)
def _unpack(packed: bytes) -> dict[str, Any]:
    return marshal.loads(packed)  # type: ignore[no-any-return] # noqa: S302 - like all that `wire` carries


def order_of(values: dict[str, Any], *, is_new: bool = False) -> Order:
    """Return an order of the values that travel (`launch/spec.py`); unknown ones are of another version.

    `is_new`: it begins now, so its deadline is known.
    """
    if "told" in values:  # packed by an earlier version
        same, told = _unpack(values["packed"]), values["told"]
        values = {**same, **values, "env": same["env"] | told, "local_env": same["local_env"] | told}
    if "own" not in values:
        order = Order(**{name: value for name, value in values.items() if name in Order.__slots__})
        return _changed(order, deadline_ns=_deadline_of(values)) if is_new else order
    same = _unpack(values["packed"])
    handle, job, task, run, attempt, slot, trigger, params, command, stdin = marshal.loads(values["own"])  # noqa: S302
    told = params | identity_of(job, task, run, attempt, slot, trigger)
    # In the order of its fields. What makes a frozen dataclass takes three times as long as all of this.
    order = object.__new__(Order)
    for put, value in zip(
        _FIELDS,
        (
            handle, job, task, run, attempt, command, same["keys"], Layers(same["env"], told),
            Layers(same["local_env"], told), same["cwd"], stdin, same["user"], same["umask"], same["nice"],
            same["resources"], _deadline_of(same) if is_new else None,
        ),
        strict=True,
    ):  # fmt: skip
        put(order, value)
    return order


def env_files_of(values: dict[str, Any]) -> Sequence[str]:
    """Return the files of variables that an order names."""
    return (_unpack(values["packed"]) if "packed" in values else values).get("env_files", ())  # type: ignore[no-any-return]


def _deadline_of(values: dict[str, Any]) -> int | None:
    """Return when an attempt that begins now is out of time."""
    timeout_ns = values.get("timeout_ns")
    return None if timeout_ns is None else time.time_ns() + int(timeout_ns)


def _changed(order: Order, **values: Any) -> Order:
    return Order(**{name: getattr(order, name) for name in Order.__slots__} | values)


def _read_env(files: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in files:
        with EnvFile(path) as file:
            if os.geteuid() == 0:
                file.check_owner()
            found |= file.values()
    return found


def result_values(result: Result) -> dict[str, Any]:
    """Return a result as it is told; an exit code that no process could have is said in words."""
    code, words = result.exit_code, short(result.error) if result.error else ""
    if code is not None and not 0 <= int(code) <= 255:
        code, words = 255, words or f"exit code {code}"
    if code is None and result.signal is None and not words:
        words = "ended, and its executor does not say how"
    return {
        "exit_code": None if code is None else int(code),
        "signal": None if result.signal is None else int(result.signal),
        "error": words,
        "cpu_s": float(result.cpu_s),
        "peak_rss_bytes": int(result.peak_rss_bytes),
    }


def is_want(error: BaseException | None) -> bool:
    """Tell if an error is a want of files, processes or memory: nobody's fault, and soon over."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in TRANSIENT)


def short(error: object) -> str:
    """Return words for people in one short line."""
    return printable(str(error))[:_LONGEST_WORDS]


async def complete(order: Order, values: dict[str, Any], type_: str = "") -> Order:
    """Add the variables of the files that an order names. Raises StartFailed.

    Also for a call, if a reload has changed the `type_` of its executor since its run began; "": none has.
    """
    if CALL in order.keys and type_ not in ("", "python"):
        raise StartFailed(f"its type is {type_} now, which can make no call: the run began with another one")
    files = env_files_of(values)
    if not files:
        return order
    try:
        found = await asyncio.wait_for(asyncio.to_thread(_read_env, files), _READ_S)
    except EnvFileError as error:
        raise StartFailed(str(error)) from error
    except TimeoutError:
        raise StartFailed(f"cannot read env_file {files[0]}: no answer") from None
    local = {**order.local_env, **found, **order.env}
    return _changed(order, env=found | dict(order.env), local_env=local)
