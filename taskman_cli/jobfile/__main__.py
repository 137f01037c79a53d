"""`python -m taskman_cli.jobfile ARGUMENTS`: read job files in a process of its own, for a scheduler to take.

ARGUMENTS is a JSON object of what `load` takes. Standard output gets a pickle: the `JobFile`, or what is
wrong with the files as (words, exit code). To read thousands of jobs takes the better part of a second, and
the clock must not wait for it.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from pathlib import Path

from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import load


def main() -> int:
    """Read the files, and hand on what they say."""
    arguments = json.loads(sys.argv[1])
    try:
        files = [Path(name) for name in arguments.pop("files")]
        result: object = load(files, **arguments, now_ns=time.time_ns())
    except TaskmanError as error:
        result = (error.render(), error.exit_code)
    sys.stdout.buffer.write(pickle.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
