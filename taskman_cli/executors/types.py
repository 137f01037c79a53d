"""Makes executors of their definitions: those that come with taskman, and entry points."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.executors import EXECUTOR_TYPES
from taskman_cli.executors.base import Executor

if TYPE_CHECKING:
    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.surroundings import Surroundings

#: The group of entry points for further types.
GROUP = "taskman.executors"


def make(definition: ExecutorDefinition, around: Surroundings) -> Executor:
    """Make an executor; raises ValueError, in words, if there is no such type or its settings are wrong."""
    kind = definition.type
    try:
        if kind in EXECUTOR_TYPES:
            # Each is imported only where it is used.
            executor = import_module(f"taskman_cli.executors.{kind}").make(definition, around)
        else:
            found = list(entry_points(group=GROUP, name=kind))
            if not found:
                raise ValueError(f'there is no executor of type "{printable(kind)}": no package brings it')
            executor = found[0].load()(definition)
    except ValueError:
        raise
    except Exception as error:  # somebody else's code
        raise ValueError(f'type "{printable(kind)}" fails: {type(error).__name__}: {error}') from error
    if not isinstance(executor, Executor):
        raise ValueError(f'type "{printable(kind)}" gave a {type(executor).__name__}, which is no Executor')
    return executor
