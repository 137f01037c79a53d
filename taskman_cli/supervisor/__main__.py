"""`python -m taskman_cli.supervisor -- SCHEDULER ARG…`: what `taskman run` turns into."""

from __future__ import annotations

import sys

from taskman_cli.supervisor.loop import Supervisor
from taskman_cli.supervisor.process import become_reaper, tidy_files


def main() -> int:
    """Run the scheduler and its commands until it says that it is done; return the exit code."""
    argv = sys.argv[1:]
    if argv[:1] != ["--"] or len(argv) < 2:
        sys.stderr.write("usage: python -m taskman_cli.supervisor -- SCHEDULER ARG…\n")
        return 2
    tidy_files()
    become_reaper()
    return Supervisor(argv[1:]).run()


if __name__ == "__main__":
    sys.exit(main())
