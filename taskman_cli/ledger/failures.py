"""The failures of a job as the ledger keeps them: one JSON object, or NULL if there are none."""

from __future__ import annotations

import json
from dataclasses import asdict

from taskman_cli.core.pause import Failures, Park


def written(failures: Failures | None) -> str | None:
    """Return failures as text."""
    return None if failures is None else json.dumps(asdict(failures))


def failures_from(text: str | None) -> Failures | None:
    """Undo `written`. Raises ValueError, TypeError or KeyError for any other text."""
    if text is None:
        return None
    values = json.loads(text)
    park = values.pop("park")
    return Failures(**values | {"runs": tuple(values["runs"])}, park=Park(**park) if park else None)
