"""What a job is, in a few characters: two that have the same fingerprint are defined alike.

Only what differs from the defaults counts, so that a key which a later version adds changes no fingerprint.
The facts of an account (its id, its groups) are not a definition's, nor is the place in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.model import Account, Group

if TYPE_CHECKING:
    from taskman_cli.core.model import Job


def fingerprint(job: Job) -> str:
    """Return the fingerprint of a job's definition."""
    from hashlib import blake2b  # 2 MB, and only jobs whose runs fail need it

    plain = [definition_of(job), job.description, job.tags, _plain(job.policy), _plain(job.tasks)]
    if job.gate is not None:
        plain.append(_plain(job.gate))
    return blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    """Return a part of a definition as JSON has it, without what is as by default."""
    match value:
        case Account() | Group():
            return value.name
        case Enum():
            return value.value
        case Mapping():
            return dict(value)
        case tuple():
            return [_plain(item) for item in value]
    if not is_dataclass(value):
        return value
    said = {field.name: getattr(value, field.name) for field in fields(value)}
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(value)
    }
    return {name: _plain(item) for name, item in said.items() if item != defaults[name]}
