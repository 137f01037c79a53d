"""Runs in the interpreter of a job file in Python: imports it, and writes down which jobs it defines.

Its text is sent to `PYTHON -c`, so it needs nothing of this package, and Python 3.8 at the least. What the
file prints goes to standard error; the result is written to a descriptor of its own.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import sys
import traceback
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_WORDS = 500


def define(path: str, data: bytes, jobs: Any, result: int) -> None:
    """Import a file whose contents are `data`, and write its definitions, or what is wrong, as JSON."""
    before, pid = set(sys.modules), os.getpid()
    directory, file = os.path.split(path)
    sys.path[:] = [directory, *(item for item in sys.path if item not in ("", directory))]
    name = file[: -len(".py")]
    module = types.ModuleType(name)
    module.__file__ = path
    if name.isidentifier() and name not in sys.modules:
        sys.modules[name] = module
    try:
        exec(compile(data, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's own
        told = _definitions(path, data, name, jobs._said)
    except SyntaxError as error:
        line = error.lineno if error.filename == path else None
        told = {"error": "SyntaxError: %s" % error.msg, "line": line or _line(error, path)}  # noqa: UP031
        if error.filename == path and error.offset:
            told["column"] = error.offset
    except BaseException as error:
        told = {"error": _words(error), "line": _line(error, path)}
    if os.getpid() != pid:  # the file has forked, and this is the child: its parent tells
        os._exit(0)
    paths = [getattr(sys.modules.get(other), "__file__", None) for other in set(sys.modules) - before]
    told["imported"] = [
        found
        for found in paths
        if isinstance(found, str) and found not in (path, "<taskman>")
        if "-packages/" not in found and not found.startswith(_INSTALLED)
    ]
    text = json.dumps(told).encode("ascii")
    while text:
        text = text[os.write(result, text) :]
    sys.stdout.flush()
    # Threads and exit handlers of the file are none of our business.
    os._exit(0)


#: Where the modules of the interpreter are.
_INSTALLED = os.__file__.rpartition("/")[0] + "/"


def _definitions(path: str, data: bytes, name: str, said: list[dict[str, Any]]) -> dict[str, Any]:
    calls = _calls(data)
    told: list[dict[str, Any]] = []
    for item in said:
        faults: list[list[Any]] = []
        one = {
            "what": item["what"],
            "line": item["line"],
            "places": calls.get(item["line"], {}),
            "keys": {key: _plain(value, [key], faults) for key, value in item["keys"].items()},
            "faults": faults,
        }
        if item["what"] == "job":
            function = item["function"]
            inside = getattr(function, "__qualname__", "") or ""
            module = getattr(function, "__module__", None)
            if not inside or "<" in inside:
                faults.append([[], "only functions at the top of a file can be called: move it there"])
            one["function"] = str(getattr(function, "__name__", "job"))
            one["call"] = "%s:%s" % (path if module in (None, name) else module, inside)  # noqa: UP031
            one["about"] = ((getattr(function, "__doc__", None) or "").strip().split("\n") or [""])[0]
        told.append(one)
    return {"said": told}


def _calls(data: bytes) -> dict[int, dict[str, list[int]]]:
    """Return the places of keys in calls, by the line of the call: each line, column and length, from 1."""
    found: dict[int, dict[str, list[int]]] = {}
    lines = data.split(b"\n")
    for node in ast.walk(ast.parse(data)):
        if isinstance(node, ast.Call) and node.keywords:
            places = found.setdefault(node.lineno, {})
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg is None:
                    continue
                # Columns are counted in bytes of UTF-8.
                text = lines[value.lineno - 1]
                column = len(text[: value.col_offset].decode("utf-8", "replace"))
                end = len(text) if value.end_lineno != value.lineno else value.end_col_offset
                length = len(text[value.col_offset : end].decode("utf-8", "replace"))
                places[keyword.arg] = [value.lineno, column + 1, max(1, length)]
    return found


def _plain(value: Any, at: list[Any], faults: list[list[Any]]) -> Any:
    """Return a value as a job file would have it."""
    if value is None:
        return "none"
    if isinstance(value, datetime.timedelta):
        return "%dms" % round(value.total_seconds() * 1000)  # noqa: UP031
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and not _is_text(value):
        faults.append([at, "no text, but half of a character: %a" % value[:20]])  # noqa: UP031
        return ""
    if isinstance(value, dict):
        if not all(_is_text(str(key)) for key in value):
            faults.append([at, "a key is no text"])
            return {}
        return {str(key): _plain(item, [*at, str(key)], faults) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, [*at, index], faults) for index, item in enumerate(value)]
    if type(value) in (str, int, float, bool):
        return value
    faults.append([at, "no value of a job file: %s" % type(value).__name__])  # noqa: UP031
    return ""


def _is_text(value: str) -> bool:
    """Tell if text can be bytes, those that are no UTF-8 included: half of a surrogate pair cannot."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _line(error: BaseException, path: str) -> int:
    """Return the last line of the file that an exception came through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines and lines[-1] else 1


def _words(error: BaseException) -> str:
    name = type(error).__name__
    try:
        words = str(error)
    except BaseException:
        return name
    return (name + ": " + words if words else name)[:_MOST_WORDS]
