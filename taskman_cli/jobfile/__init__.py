"""From TOML text to validated jobs; nothing in the scheduler checks a job again.

All errors of all files are reported together, each with file, line, column, key and fix. `tables.py` defines
what a key is, `keys.py` and `tasks.py` list the keys. Positions are computed only when there is an error.
"""

from taskman_cli.jobfile.load import JobFile, load, loads
from taskman_cli.jobfile.problems import JobFileError, Problem

__all__ = ["JobFile", "JobFileError", "Problem", "load", "loads"]
