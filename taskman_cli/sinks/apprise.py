"""`apprise`: the services that the library of this name knows, each in a process of its own.

The library is imported only there: it is large, waits as long as it likes, and logs what it is given. The
URLs, which have passwords in them, travel on standard input.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import taskman_cli
from taskman_cli.sinks.base import DeliveryFailed, NotReached
from taskman_cli.sinks.patience import Deadline
from taskman_cli.sinks.program import Program, run
from taskman_cli.sinks.progress import Progress
from taskman_cli.sinks.words import body_of, title_of, worst_level

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: What its exit code says.
_NO_SUCH_SERVICE = 64
_TYPES = {"problem": "failure", "warning": "warning", "info": "info", "good": "success"}
#: Services cut what is longer, each in its own way.
_LONGEST = 30_000


class Apprise:
    """A sink that tells services through the library."""

    def __init__(self, definition: SinkDefinition, surroundings: Surroundings, secrets: Secrets) -> None:
        """Raises ValueError if the library is not there."""
        if find_spec("apprise") is None:
            raise ValueError("apprise is not installed: pip install 'taskman-scheduler[apprise]'")
        urls = definition.settings["urls"]
        self._urls = urls if isinstance(urls, list) else [urls]
        self._surroundings = surroundings
        self._secrets = secrets
        self._progress = Progress()

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Tell each service; those that know already are not told again."""
        deadline = Deadline(timeout_s)
        places = [str(place) for place in range(len(self._urls))]
        said = ""
        for place in self._progress.left(message.key, places):
            url = self._secrets.reveal(self._urls[int(place)], f"urls[{place}]")
            self._secrets.hide_url(url)
            for part in url.replace("://", "/").split("/"):
                self._secrets.hide(part if len(part) >= 8 else "")
            said = self._tell(url, message, deadline)
            self._progress.take(place)
        self._progress.finish()
        return said

    def _tell(self, url: str, message: Message, deadline: Deadline) -> str:
        asked = {
            "url": url,
            "title": title_of(message),
            "body": body_of(message)[:_LONGEST],
            "type": _TYPES[worst_level(message)],
        }
        environment = self._surroundings.inherited()
        # The same taskman, wherever it was started from.
        above = str(Path(taskman_cli.__file__).parent.parent)
        paths = [above, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        argv = [sys.executable, "-m", "taskman_cli.sinks.apprising"]
        ended = run(Program(argv, environment, cwd="/"), json.dumps(asked).encode("ascii"), deadline)
        if ended.code == _NO_SUCH_SERVICE:
            raise NotReached("apprise knows no service of that URL")
        if ended.code != 0:
            raise DeliveryFailed(f"apprise: {ended.words or ended}", is_down=True)
        return f"apprise told it: {ended.words}" if ended.words else "apprise told it"

    def close(self) -> None:
        """Hold nothing: each process has ended."""


def make(definition: SinkDefinition, surroundings: Surroundings, secrets: Secrets) -> Apprise:
    """Make a sink of its definition."""
    return Apprise(definition, surroundings, secrets)
