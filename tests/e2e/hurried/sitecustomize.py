"""Gives taskman other numbers, such as less patience; Python imports this where it is on PYTHONPATH.

`TASKMAN_NUMBERS` has them, with blanks between: `MODULE.NAME=NUMBER`. Each is set when its module is loaded,
before any other module has it.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _Setter(MetaPathFinder):
    """Finds the modules whose numbers are wanted, and sets these."""

    def __init__(self, numbers: str) -> None:
        self._wanted: dict[str, dict[str, str]] = {}
        for word in numbers.split():
            place, _, number = word.partition("=")
            module, _, name = place.rpartition(".")
            self._wanted.setdefault(module, {})[name] = number

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._wanted:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_set(module: ModuleType) -> None:
            load(module)
            for name, number in self._wanted[fullname].items():
                setattr(module, name, type(getattr(module, name))(number))

        spec.loader.exec_module = load_and_set  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Setter(os.environ.get("TASKMAN_NUMBERS", "")))
