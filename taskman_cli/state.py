"""Where an instance keeps its state on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Mapping


def state_directory(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """Return the state directory: systemd's, else the machine's for root, else the user's own (XDG)."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if is_root:
        return Path("/var/lib/taskman")
    from platformdirs import user_state_path

    return user_state_path("taskman")


def make_state(directory: Path) -> Path:
    """Make the state directory where it is missing, private, with `output` in it; return its full path.

    A directory that is there keeps its mode: others may be counting on it (`STATE_DIRECTORY=/tmp`). `output`
    is ours by name and is made private whatever it was. Raises TaskmanError where that can't be done.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        output = directory / "output"
        output.mkdir(mode=0o700, exist_ok=True)
        output.chmod(0o700)
        if not os.access(output, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
        return directory.resolve()
    except OSError as error:
        raise TaskmanError(
            f"cannot keep state in {directory}: {error.strerror} "
            "(set STATE_DIRECTORY to a directory of yours)"
        ) from error
