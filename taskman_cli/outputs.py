"""The captured output on disk: `JOB/RUN.TASK.ATTEMPT.log`, kept for the latest runs of each job."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path


class Outputs:
    """Names output files, and removes those of a job's older runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        #: Files of each job that has had output in this process's life, oldest first.
        self._files: dict[str, deque[str]] = {}

    def path(self, job: str, key: str) -> str:
        """Return where the output of an attempt goes."""
        return f"{self._directory}/{job}/{key}.log"

    def note(self, job: str, key: str, *, keep_runs: int) -> None:
        """Count the file of an attempt that had output; keep those of `keep_runs` runs."""
        files = self._files.get(job)
        if files is None:
            files = self._files[job] = deque(self._on_disk(job))
        name = f"{key}.log"
        if name not in files:
            files.append(name)
        # Run ids sort by time, so the files of a run stand together.
        while len({_run_of(name) for name in files}) > keep_runs:
            oldest = _run_of(files[0])
            while files and _run_of(files[0]) == oldest:
                with suppress(OSError):
                    Path(self._directory, job, files.popleft()).unlink()

    def _on_disk(self, job: str) -> list[str]:
        try:
            # A supervisor that was killed may have left a `.log.part`.
            return sorted(path.name for path in Path(self._directory, job).glob("*.log*"))
        except OSError:
            return []


def _run_of(name: str) -> str:
    return name.partition(".")[0]
