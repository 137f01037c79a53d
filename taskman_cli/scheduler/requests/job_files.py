"""The job files of a running scheduler: reading them again, watching them, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.news import FilesNote
from taskman_cli.scheduler.logs.loggers import job_log, notice

if TYPE_CHECKING:
    from taskman_cli.jobfile import JobFile
    from taskman_cli.jobfile.fingerprint import Seen
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.requests.file_changes import Watcher
    from taskman_cli.scheduler.requests.reload import Reading, Reloader
    from taskman_cli.scheduler.workers import Workers

#: Kept for the next scheduler, as a value of the supervisor: the `FilesNote` of files with errors.
FILES_TROUBLE = "files_trouble"
#: Good news of a reload is shown this long.
NEWS_NS = 30 * SECOND_NS
#: With `watch = true`, files are read again after this time where reading them hung.
TRY_AGAIN_NS = 60 * SECOND_NS
BLIND = "no longer watched: a file system that they are on does not respond"


class JobFiles:
    """Reads the files when asked to, and watches them in between."""

    def __init__(
        self,
        driver: EngineDriver,
        reader: Reloader,
        watcher: Watcher,
        workers: Workers,
        trouble: tuple[int, str, str] | None = None,
    ) -> None:
        """`trouble` is what an earlier scheduler has kept."""
        self._driver = driver
        self._reader = reader
        self._watcher = watcher
        self._workers = workers
        #: What came of the last read; what is wrong stays until the files are right.
        self.last_note = FilesNote(*trouble, is_bad=True) if trouble else None
        #: When to read them again although no change is known, on the elapsed clock.
        self.retry_at_ns: int | None = None
        #: That no thread watches them was logged.
        self._is_unwatched = False
        #: A look at the files hangs.
        self._is_blind = False

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to wait on."""
        return self._reader.fileno(), self._watcher.fileno()

    def read(self) -> None:
        """Begin to read; until that is done they are not watched."""
        self._watcher.watch(None)
        self.retry_at_ns = None
        self._reader.start(limit_s=self._driver.engine.settings.read_timeout_ns / SECOND_NS)

    def take_reading(self, ready: set[int]) -> Reading | None:
        """Return what came of reading, once that is done."""
        return self._reader.result() if self._reader.fileno() in ready else None

    def accept(self, jobfile: JobFile) -> None:
        """Take note that what was read last is in force."""
        self._reader.accept(jobfile)

    def watch(self, seen: Seen | None) -> None:
        """Watch for changes since the files looked like this, if the settings say so."""
        is_wanted = self._driver.engine.settings.watch
        is_unwatched = not self._watcher.watch(seen if is_wanted else None)
        now_ns = self._driver.now.elapsed_ns
        is_owed = is_wanted and (seen is None or is_unwatched)
        self.retry_at_ns = now_ns + TRY_AGAIN_NS if is_owed else None
        if is_unwatched and not self._is_unwatched:
            job_log.error("the job files are not watched: no thread can be started; it is tried again")
        self._is_unwatched = is_unwatched

    def take_change(self, ready: set[int]) -> bool:
        """Tell whether the files have changed, as far as watching them says."""
        if self._watcher.fileno() not in ready:
            return False
        is_changed, is_blind = self._watcher.take()
        self._note_blindness(is_blind)
        return is_changed

    @property
    def is_retry_due(self) -> bool:
        """Tell whether the files are to be read again although no change is known."""
        return self.retry_at_ns is not None and self.retry_at_ns <= self._driver.now.elapsed_ns

    def note(self) -> FilesNote | None:
        """Return what came of the last read, as long as that matters."""
        note = self.last_note
        if note is None or note.is_bad:
            return note
        return note if 0 <= self._driver.now.wall_ns - note.at_ns < NEWS_NS else None

    def note_news(self, words: str) -> None:
        """Take note of a reload that went well."""
        self.last_note = FilesNote(self._driver.now.wall_ns, words)

    def note_trouble(self, summary: str, words: str) -> None:
        """Take note of what is wrong with the files, for the next scheduler, too."""
        self.last_note = FilesNote(self._driver.now.wall_ns, summary, words, is_bad=True)
        self._workers.keep(FILES_TROUBLE, (self.last_note.at_ns, summary, words))

    def note_well(self) -> None:
        """Take note that nothing is wrong with the files."""
        if self.last_note:
            self._workers.keep(FILES_TROUBLE, None)
        self.last_note = None

    def _note_blindness(self, is_blind: bool) -> None:
        """Log when a look at the files hangs, and when it has come back: meanwhile they are not watched."""
        if is_blind == self._is_blind:
            return
        self._is_blind = is_blind
        if is_blind:
            job_log.error("the job files are %s", BLIND)
            self._driver.note(effects.SchedulerNoted("watch_hangs", BLIND))
            if self.last_note is None or not self.last_note.is_bad:
                self.note_trouble(BLIND, BLIND)
        else:
            notice(job_log, "the job files are watched again")
            self._driver.note(effects.SchedulerNoted("watch_goes_on"))
            if self.last_note is not None and self.last_note.summary == BLIND:
                self.note_well()

    def close(self) -> None:
        """End the processes that read and watch."""
        self._reader.close()
        self._watcher.close()
