"""`python -m taskman_cli.supervisor [--lock FD] [--ephemeral DIR] [--log FORM LEVEL] -- SCHEDULER ARG…`:
what `run` turns into.

FD is an open file with the lock on the state directory; it stays open as long as this process or the
scheduler lives, and no command gets it. DIR is the state directory if it is removed at the end. FORM and
LEVEL, a number, are those of the log until the scheduler says more.
"""

from __future__ import annotations

import sys

from taskman_cli.supervisor.inherited import drop_coerced_locale
from taskman_cli.supervisor.loop import Supervisor
from taskman_cli.supervisor.process import become_reaper, keep_lock, remove_own, tidy_files
from taskman_cli.supervisor.voice import VOICE


def main() -> int:
    """Run the scheduler and its commands until it says that it is done; return the exit code."""
    argv, lock_fd, ephemeral = sys.argv[1:], None, None
    if argv[:1] == ["--lock"] and len(argv) > 1 and argv[1].isdecimal():
        lock_fd, argv = int(argv[1]), argv[2:]
    if argv[:1] == ["--ephemeral"] and len(argv) > 1:
        ephemeral, argv = argv[1], argv[2:]
    if argv[:1] == ["--log"] and len(argv) > 2 and argv[2].isdecimal():
        VOICE.configure(argv[1], int(argv[2]))
        argv = argv[3:]
    if argv[:1] != ["--"] or len(argv) < 2:
        sys.stderr.write(
            "usage: python -m taskman_cli.supervisor [--lock FD] [--ephemeral DIR] [--log FORM LEVEL]"
            " -- SCHEDULER ARG…\n"
        )
        return 2
    if lock_fd is not None:
        try:
            lock_fd = keep_lock(lock_fd)
        except (OSError, OverflowError) as error:
            sys.stderr.write(f"taskman: cannot keep the lock at descriptor {lock_fd}: {error}\n")
            return 2
    drop_coerced_locale()
    tidy_files()
    become_reaper()
    code = Supervisor(argv[1:], lock_fd=lock_fd).run()
    if ephemeral is not None:
        remove_own(ephemeral)
    return code


if __name__ == "__main__":
    sys.exit(main())
