"""`python -m taskman_cli.executors.checking`: what one executor finds out about itself, for `taskman doctor`.

A process of its own, since an executor may be somebody else's code, and may hang. Standard input has,
marshalled, the fields of an `ExecutorDefinition`, the names of hidden variables and how many seconds it may
take; standard output gets what was found, as JSON: one array of [is it good, words, advice].
"""

from __future__ import annotations

import asyncio
import json
import marshal
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from taskman_cli.core.escapes import printable
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.types import make
from taskman_cli.launch.locale import settle

Found = list[tuple[bool, str, str]]


async def look(definition: ExecutorDefinition, around: Surroundings, patience_s: float) -> Found:
    """Make an executor, have it checked, and close it."""
    try:
        executor = make(definition, around)
    except ValueError as error:
        return [(False, printable(str(error)), "correct its table in the job file")]
    try:
        findings = await asyncio.wait_for(executor.check(), patience_s)
    except TimeoutError:
        return [(False, f"no answer within {patience_s:g} s", "")]
    except Exception as error:  # somebody else's code
        return [(False, f"its check fails: {type(error).__name__}: {printable(str(error))}", "")]
    finally:
        await executor.close()
    return [(one.is_good, printable(one.words), printable(one.advice)) for one in findings]


def main() -> None:
    """Answer on standard output; all else that is printed goes to standard error."""
    settle()
    values: dict[str, Any]
    values, hidden, patience_s = marshal.load(sys.stdin.buffer)  # noqa: S302 - of `taskman doctor`
    answer = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="taskman-doctor-") as directory:
        around = Surroundings(directory=Path(directory), hidden=frozenset(hidden))
        found = asyncio.run(look(ExecutorDefinition(**values), around, patience_s))
    os.write(answer, json.dumps(found).encode())


if __name__ == "__main__":
    main()
