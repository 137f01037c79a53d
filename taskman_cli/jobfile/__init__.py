"""TOML text in, validated jobs out: nothing inside the scheduler checks a job again.

Every error of every file is told at once, each with file, line, column, key and the fix. `tables.py` has
the one description of a key; `keys.py` and `tasks.py` list them; positions are worked out only when
something is wrong.
"""

from taskman_cli.jobfile.load import JobFile, load, loads
from taskman_cli.jobfile.problems import JobFileError, Problem

__all__ = ["JobFile", "JobFileError", "Problem", "load", "loads"]
