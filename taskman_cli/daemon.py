"""The scheduler, for a supervisor of taskman 0.1 that still runs. Remove it in 0.3."""

import sys

from taskman_cli.scheduler.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
