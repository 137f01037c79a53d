"""Sinks in the simulation: what is put on record for them obeys laws, whatever dies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.sinks import ReportKind, SinkDefinition

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

K = ReportKind
#: Two that are told all, one of them much at once; one is told of trouble now and then, and one only once.
SINKS = (
    SinkDefinition("all", "file", on=frozenset(K), repeat_ns=0),
    SinkDefinition("digest", "file", on=frozenset(K), repeat_ns=0, digest_ns=2 * SECOND_NS),
    SinkDefinition("first", "file", repeat_ns=None, keep=3),
    SinkDefinition("ops", "file", repeat_ns=30 * SECOND_NS),
)
ENDS = {K.SUCCEEDED, K.FAILED, K.TIMED_OUT, K.LOST, K.CANCELLED}
#: The records that a report may tell of.
SUBJECTS = {
    **dict.fromkeys(ENDS, effects.RunFinished),
    K.STARTED: effects.AttemptBegun,
    K.RETRIED: effects.AttemptFinished,
    K.SKIPPED: effects.SlotsSkipped,
    K.PARKED: effects.Commanded,
    **dict.fromkeys((K.RECOVERED, K.DELAYED, K.SLOW, K.OVERDUE), effects.Noticed),
}


def tastes(chance: random.Random) -> dict[str, Any]:
    """Return what a job says of sinks."""
    pick = chance.choice
    return {
        "sinks": pick([(), ("all", "digest"), ("all", "ops"), ("digest",), ("first", "gone")]),
        "delayed_after_ns": pick([None, 3 * SECOND_NS]),
        "slow_after_ns": pick([None, SECOND_NS]),
        "expect_every_ns": pick([None, 60 * SECOND_NS]),
    }


class Told:
    """What the disk keeps of sinks, and the laws of it."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str, str], effects.SeriesNoted] = {}
        self.slow: set[str] = set()
        #: Runs that are told to have begun, and those of which a mark says so.
        self.begun: set[str] = set()
        self.told: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.overdue: set[str] = set()
        #: The last record that is a line of the journal, and its number.
        self._line: object = None
        self.seq = 0
        #: What sinks are told, by line: to each how many like it; and how far each has got, from where.
        self.reports: dict[int, tuple[effects.Reported, dict[str, int]]] = {}
        self.cursors: dict[str, int] = {}
        self.begins: dict[str, int] = {}
        self.refused: dict[str, set[int]] = {}
        #: Up to which line the next message of a sink goes, where that is on record.
        self.cuts: dict[str, int] = {}
        #: Called when a sink is moved, with where it was and where it is.
        self.moved: Callable[[str, int, int], None] = lambda *_: None

    def note(self, record: object) -> bool:
        """Take a record; tell whether it was one about sinks."""
        match record:
            case effects.Reported():
                self._reported(record)
            case effects.Noticed():
                self._add_line(record)
                if record.kind is K.SLOW:
                    assert record.run is not None
                    assert record.run not in self.slow, "a run is told to be slow once"
                    self.slow.add(record.run)
                if record.kind is K.OVERDUE:
                    assert record.job not in self.overdue, "a job is told to be overdue once"
                    self.overdue.add(record.job)
            case effects.RunTold():
                (self.slow if record.kind is K.SLOW else self.told).add(record.run)
                self.begun |= self.told
            case effects.SeriesNoted():
                self.series[record.job, record.sink, record.trouble] = record
            case effects.SeriesOver():
                del self.series[record.job, record.sink, record.trouble]
            case effects.SinksTaken():
                assert record.names in ((), tuple(sink.name for sink in SINKS))  # a scene has none
                self.cursors = {name: self.cursors.get(name, self.seq) for name in record.names}
                self.begins = {name: self.begins.get(name, self.seq) for name in record.names}
                self.refused = {name: self.refused.get(name, set()) for name in record.names}
                self.cuts = {name: seq for name, seq in self.cuts.items() if name in record.names}
            case effects.JobExpected():
                if record.told_ns is None:
                    self.overdue.discard(record.job)
                return False
            case _:
                if type(record) in SUBJECTS.values():
                    self._add_line(record)
                return self._note_delivery(record)
        return True

    def _add_line(self, record: object) -> None:
        self._line = record
        self.seq += 1

    def _note_delivery(self, record: object) -> bool:
        match record:
            case effects.SinkDelivered():
                assert record.seq > self.cursors[record.sink], "what is delivered was not so before"
                self.cursors[record.sink] = record.seq
                self.cuts.pop(record.sink, None)
            case effects.DigestCut():
                assert record.seq > self.cursors[record.sink], "what is cut is not delivered"
                self.cuts[record.sink] = record.seq
            case effects.ReportSetAside():
                self.cuts.pop(record.sink, None)
                self.refused[record.sink] |= {*record.seqs}
                self.cursors[record.sink] = max(self.cursors[record.sink], *record.seqs)
            case effects.SinkMoved():
                self.moved(record.sink, self.cursors[record.sink], record.seq)
                self.cuts.pop(record.sink, None)
                self.cursors[record.sink] = record.seq
                self.refused[record.sink] = {seq for seq in self.refused[record.sink] if seq <= record.seq}
            case effects.ReportSkipped():
                self.refused[record.sink].discard(record.seq)
                self.reports[record.seq][1].pop(record.sink, None)
            case effects.SinkFailed():
                pass
            case _:
                return False
        return True

    def forget(self, job: str) -> None:
        """Forget a job that is not defined any more."""
        self.series = {key: item for key, item in self.series.items() if key[0] != job}
        self.overdue.discard(job)

    def _reported(self, report: effects.Reported) -> None:
        assert type(self._line) is SUBJECTS[report.kind], "a report follows what it tells of"
        assert getattr(self._line, "job", None) == report.job
        assert report.to, "somebody is told"
        assert self.seq not in self.reports, "a line has one report"
        self.reports[self.seq] = report, dict(report.to)
        for name, count in report.to:
            sink = next(sink for sink in SINKS if sink.name == name)
            assert count >= 1
            assert report.kind in sink.on or report.kind is K.SKIPPED
        if report.kind in ENDS:
            self.ends[report.run] += 1
            assert self.ends[report.run] == 1, "the end of a run is told once"
        if report.kind is K.STARTED:
            assert report.run not in self.begun, "a run is told to begin once"
            self.begun.add(report.run)
        if report.kind in (K.FAILED, K.SUCCEEDED):
            assert str(report.kind) == report.state
