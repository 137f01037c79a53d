"""Readers of secrets: where each comes from. The process that needs one looks it up."""

from __future__ import annotations

import re
from typing import Any

from taskman_cli.core.sinks import SECRET_SOURCES
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import Shape, shape_of, shaped, whole
from taskman_cli.jobfile.units import read_path
from taskman_cli.jobfile.values import Context, Reader, mistyped, read_env_name, read_line

_EXAMPLE = 'write { env = "NAME" }, { file = "/path" } or { credential = "NAME" }'
#: As systemd names credentials.
_CREDENTIAL = re.compile(r"(?!\.\.?$)[!-.0-~]{1,255}")


@shaped(type="string", pattern=whole(_CREDENTIAL.pattern))
def _read_credential(value: object, context: Context) -> str:
    name = read_line(value, context)
    if not _CREDENTIAL.fullmatch(name):
        raise reject("not a valid name of a credential: no slash, no blank, no other character than ASCII")
    return name


_SOURCES: dict[str, Reader] = {"env": read_env_name, "file": read_path, "credential": _read_credential}
assert (*_SOURCES,) == SECRET_SOURCES
_SOURCE_SHAPE: Shape = {
    "type": "object",
    "properties": {name: shape_of(reader) for name, reader in _SOURCES.items()},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}


def _source(value: dict[str, Any], context: Context) -> dict[str, str]:
    """Read where a secret comes from."""
    unknown = [
        Fault((name,), f"unknown key: {_EXAMPLE}", at_key=True) for name in value if name not in _SOURCES
    ]
    if unknown:
        raise Rejected(*unknown)
    if len(value) != 1:
        raise reject(f"a secret has one source: {_EXAMPLE}")
    ((name, source),) = value.items()
    try:
        return {name: _SOURCES[name](source, context)}
    except Rejected as error:
        raise Rejected(*error.under(name)) from None


@shaped(**_SOURCE_SHAPE)
def read_secret(value: object, context: Context) -> dict[str, str]:
    """Read where a secret comes from; the job file itself is no place for one."""
    if type(value) is str:
        raise reject(f"a job file is no place for a secret: {_EXAMPLE}")
    if type(value) is not dict:
        raise mistyped(value, "the source of a secret", f": {_EXAMPLE}")
    return _source(value, context)


def or_secret(reader: Reader) -> Reader:
    """Return a reader that also takes the source of a secret instead of a value."""

    @shaped(anyOf=[shape_of(reader), _SOURCE_SHAPE])
    def read(value: object, context: Context) -> Any:
        return _source(value, context) if type(value) is dict else reader(value, context)

    return read
