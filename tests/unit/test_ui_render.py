"""The view at every size and over every snapshot: it fits, says what it must, and steers no terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.conditions import FarWorker, Reach, sum_of
from taskman_cli.core.engine.news import FilesNote
from taskman_cli.core.engine.view import (
    AlarmRow,
    Counters,
    ExecutorRow,
    Failing,
    QueueRow,
    ResultRow,
    RetryRow,
    Snapshot,
    WorkerRow,
)
from taskman_cli.core.model import State
from taskman_cli.core.pause import Park, Pause
from taskman_cli.ui.headline import executors_line, header
from taskman_cli.ui.render import render
from taskman_cli.ui.text import line_width

if TYPE_CHECKING:
    from taskman_cli.ui.render import Frame

#: Friday 6 November 2026, 21:20 UTC.
WALL_NS = 1_794_000_000 * SECOND_NS
ELAPSED_NS = 10_000 * SECOND_NS
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS


def queued(job: str, in_ns: int, *, enabled: bool = True) -> QueueRow:
    return QueueRow(job=job, slot_ns=WALL_NS + in_ns, due_ns=WALL_NS + in_ns, enabled=enabled)


def working(job: str, for_ns: int, *, timeout_ns: int | None = None, **others: object) -> WorkerRow:
    fields = {"run": "r", "task": "main", "attempt": 1, "pid": 4711, "command": f"./{job}.sh"} | others
    return WorkerRow(job=job, started_elapsed_ns=ELAPSED_NS - for_ns, timeout_ns=timeout_ns, **fields)  # type: ignore[arg-type]


def ended(job: str, state: State, ago_ns: int, took_ns: int, **others: object) -> ResultRow:
    fields = {"run": "r", "task": "main", "attempt": 1} | others
    return ResultRow(job=job, state=state, ended_ns=WALL_NS - ago_ns, duration_ns=took_ns, **fields)  # type: ignore[arg-type]


def failing(job: str, failures: int, ago_ns: int, detail: str, **others: object) -> Failing:
    fields = {"run": "r", "task": "main", "state": State.FAILED, "ended_ns": WALL_NS} | others
    since_ns = WALL_NS - ago_ns if ago_ns else 0
    return Failing(job=job, failures=failures, since_ns=since_ns, detail=detail, **fields)  # type: ignore[arg-type]


EMPTY = Snapshot(
    now=Now(wall_ns=WALL_NS, elapsed_ns=ELAPSED_NS),
    started_ns=WALL_NS - 72 * MINUTE_NS,
    jobs=0,
    max_workers=16,
    queue=(),
    workers=(),
    ready=0,
    waiting_retries=0,
    recent=(),
    counters=Counters(),
)
TYPICAL = replace(
    EMPTY,
    jobs=9,
    queue=(
        queued("probe", -SECOND_NS // 5),
        queued("heartbeat", 4_200_000_000),
        queued("tidy-tmp", 45 * SECOND_NS),
        queued("certificates", 3 * HOUR_NS + 12 * MINUTE_NS),
        queued("backup-home", 5 * HOUR_NS + 10 * MINUTE_NS),
        queued("disk-check", 3 * DAY_NS),
        queued("report", 48 * DAY_NS),
        queued("smart-test", 400 * DAY_NS),
        queued("mirror", 401 * DAY_NS, enabled=False),
    ),
    workers=(
        working(
            "backup-home", 185 * SECOND_NS, timeout_ns=HOUR_NS, attempt=2, command="restic backup /home /etc"
        ),
        working("probe", 400_000_000, timeout_ns=5 * SECOND_NS, task="api", command="curl -fsS example.org"),
        working("thumbnails", 63 * SECOND_NS, timeout_ns=MINUTE_NS, note="killing"),
        working("mirror", 8_130 * SECOND_NS, pid=48377),
        working("index", 0, pid=None, command="updatedb"),
    ),
    ready=3,
    waiting_retries=1,
    recent=(
        ended("certificates", State.SUCCEEDED, 4_000 * SECOND_NS, 1_204_000_000),
        ended("mirror", State.LOST, 900 * SECOND_NS, HOUR_NS, detail="the scheduler died"),
        ended("probe", State.TIMED_OUT, 30 * SECOND_NS, 5 * SECOND_NS, task="db", detail="killed by SIGKILL"),
        ended("backup-home", State.SKIPPED, 20 * SECOND_NS, 0, detail="overlap"),
        ended("import", State.CANCELLED, 9 * SECOND_NS, 42 * SECOND_NS, detail="killed by SIGTERM"),
        ended("backup-home", State.FAILED, 3 * SECOND_NS, 64 * SECOND_NS, attempt=2, detail="exit 75"),
        ended("probe", State.SUCCEEDED, 300_000_000, 12_000_000, task="api"),
    ),
    counters=Counters(started=1_284, succeeded=1_251, failed=19, timed_out=4, lost=1, skipped=2, retried=11),
)

AT_80 = """
 taskman   ● running   up 1h 12m   9 jobs          ━━━━╸────────── 5/16 workers
╭─ Workers ────────────────────────────────────────────── 3 ready, 1 to retry ─╮
│ ● backup-home   attempt 2  restic backup /…   pid 4711   3m 05s  ╸─────── 1h │
│ ● probe.api     curl -fsS example.org         pid 4711     0.4s  ╸─────── 5s │
│ ■ thumbnails    killing  ./thumbnails.sh      pid 4711   1m 03s  ━━━━━━━━ 1m │
│ ● mirror        ./mirror.sh                  pid 48377   2h 15m              │
│ ● index         updatedb                      starting     0.0s              │
╰──────────────────────────────────────────────────────────────────────────────╯
╭─ Queue ──────────────────────────────────────────────────────────────── UTC ─╮
│ ▸ probe                due      21:19:59                                     │
│   heartbeat        in 4.2s      21:20:04                                     │
│   tidy-tmp          in 45s      21:20:45                                     │
│   certificates   in 3h 12m  Sat 00:32:00                                     │
│   backup-home    in 5h 10m  Sat 02:30:00                                     │
│   disk-check     in 3d 00h  Mon 21:20:00                                     │
╰─────────────────────────────────────────────────────────────────── … 3 more ─╯
╭─ Recent results ─────────────────────────────────────────────────────────────╮
│ ✓ probe.api     succeeded     12ms                                  just now │
│ ✗ backup-home   failed        1m4s  exit 75  attempt 2                3s ago │
│ ■ import        cancelled      42s  killed by SIGTERM                 9s ago │
│ ○ backup-home   skipped             overlap                          20s ago │
│ ! probe.db      timed out       5s  killed by SIGKILL                30s ago │
╰──────────────────────────────────────────────────────────────────────────────╯
 ✓ 1,251 succeeded  ✗ 19 failed  ! 4 timed out  ? 1 lost  ○ 2 skipped
"""

AT_160 = """
 taskman   ● running   up 1h 12m   9 jobs                                                                          ━━━━━━━━━╸───────────────────── 5/16 workers
╭─ Workers ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────── 3 ready, 1 to retry ─╮
│ ● backup-home   attempt 2  restic backup /home /etc                                                                           pid 4711   3m 05s  ╸─────── 1h │
│ ● probe.api     curl -fsS example.org                                                                                         pid 4711     0.4s  ╸─────── 5s │
│ ■ thumbnails    killing  ./thumbnails.sh                                                                                      pid 4711   1m 03s  ━━━━━━━━ 1m │
│ ● mirror        ./mirror.sh                                                                                                  pid 48377   2h 15m              │
│ ● index         updatedb                                                                                                      starting     0.0s              │
╰──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────╯
╭─ Queue ──────────────────────────────────────────────── UTC ─╮ ╭─ Recent results ────────────────────────────────────────────────────────────────────────────╮
│ ▸ probe                due      21:19:59                     │ │ ✓ probe.api     succeeded     12ms                                                 just now │
│   heartbeat        in 4.2s      21:20:04                     │ │ ✗ backup-home   failed        1m4s  exit 75  attempt 2                               3s ago │
│   tidy-tmp          in 45s      21:20:45                     │ │ ■ import        cancelled      42s  killed by SIGTERM                                9s ago │
│   certificates   in 3h 12m  Sat 00:32:00                     │ │ ○ backup-home   skipped             overlap                                         20s ago │
│   backup-home    in 5h 10m  Sat 02:30:00                     │ │ ! probe.db      timed out       5s  killed by SIGKILL                               30s ago │
│   disk-check     in 3d 00h  Mon 21:20:00                     │ │ ? mirror        lost            1h  the scheduler died                              15m ago │
│   report        in 48d 00h  24 Dec 21:20                     │ │ ✓ certificates  succeeded     1.2s                                                   1h ago │
│   smart-test       in 400d    2027-12-11                     │ │                                                                                             │
│   mirror          disabled    2027-12-12                     │ │                                                                                             │
╰──────────────────────────────────────────────────────────────╯ ╰─────────────────────────────────────────────────────────────────────────────────────────────╯
 1,284 started   ✓ 1,251 succeeded   ✗ 19 failed   ! 4 timed out   ? 1 lost   ○ 2 skipped   11 retried
"""  # noqa: E501


def test_in_80_columns_the_paused_jobs_are_counted_rather_than_the_workers_drawn() -> None:
    line = header(replace(EMPTY, jobs=7, paused=1), width=80)
    assert "7 jobs, 1 paused" in "".join(segment.text for segment in line)
    assert line_width(line) == 80


def executor(name: str, reach: Reach = Reach.UP, **others: object) -> ExecutorRow:
    fields = {
        "type": "ssh", "since_elapsed_ns": ELAPSED_NS - 185 * SECOND_NS, "words": "", "running": 1,
        "max_workers": None, "waiting": 0, "restarts": 0, "starts": 0, "ends": (),
    } | others  # fmt: skip
    return ExecutorRow(name=name, reach=reach, **fields)  # type: ignore[arg-type]


FARM = replace(
    EMPTY,
    executors=(
        executor("local"),
        executor(
            "farm", max_workers=8, waiting=2, workers=sum_of([FarWorker("a", 2, 4), FarWorker("b", 1, 8)])
        ),
        executor("web1", Reach.DOWN, running=0, words="no route\x1b to host"),
    ),
)


def test_executors_are_in_a_line_and_those_first_that_are_away() -> None:
    [line] = [
        line
        for line in text_of(render(FARM, width=160, height=30, timezone=UTC)).splitlines()
        if "farm" in line
    ]
    assert line.strip() == (
        r"executors: web1 down for 3m 05s, 0 running, no route\x1b to host; "
        "farm up, 1 of 8 running, 2 waiting, 2 workers (3 of 12 slots)"
    )
    for width in range(90):
        assert line_width(executors_line(FARM, width=width)) <= width
    assert executors_line(EMPTY, width=80) == []


def test_actions_of_people_are_shown() -> None:
    tea = Pause(WALL_NS, WALL_NS + HOUR_NS, "tea", "ann (uid 1000, pid 7)")
    frame = render(
        replace(
            EMPTY,
            jobs=2,
            paused=2,
            queue=(
                replace(queued("probe", MINUTE_NS), pause=tea),
                QueueRow("tidy", None, 0, pause=Pause(WALL_NS, by="bob (uid 1, pid 2)")),
            ),
            workers=(working("report", MINUTE_NS, trigger="manual"), working("mail", 1, trigger="once")),
            stopping=True,
            draining=True,
        ),
        width=100,
        height=30,
        timezone=UTC,
    )
    text = "\n".join("".join(segment.text for segment in line) for line in frame.lines)
    assert "draining" in text
    assert "2 jobs, 2 paused" in text
    assert re.search(r"probe +paused +22:20:00 +by ann: tea", text)
    assert re.search(r"tidy +paused +by bob", text)
    assert re.search(r"report +by hand +./report.sh", text)
    assert re.search(r"mail +once +./mail.sh", text)


@pytest.mark.parametrize(
    ("park", "words"),
    [
        (Park(WALL_NS, "it failed"), r"parked +it failed"),
        (Park(WALL_NS, "it failed", WALL_NS + HOUR_NS), r"parked +22:20:00 +it failed"),
        (Park(WALL_NS - HOUR_NS, "it failed", WALL_NS), r"parked +its next slot is tried: it failed"),
        (Park(WALL_NS - HOUR_NS, "it failed", WALL_NS, "67d3k"), r"parked +run 67d3k tries it: it failed"),
    ],
    ids=["for good", "for a time", "over", "tried"],
)
def test_how_it_goes_on_with_a_parked_job_is_shown(park: Park, words: str) -> None:
    snapshot = replace(EMPTY, jobs=1, queue=(QueueRow("probe", None, 0, park=park),))
    frame = render(snapshot, width=100, height=30, timezone=UTC)
    text = "\n".join("".join(segment.text for segment in line) for line in frame.lines)
    assert re.search(f"probe +{words}", text)


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(80, 24, AT_80), (160, 50, AT_160)], ids=["80", "160"]
)
def test_a_typical_snapshot_looks_like_this(width: int, height: int, expected: str) -> None:
    assert f"\n{text_of(drawn(TYPICAL, width, height))}\n" == expected


FAILING = (
    AlarmRow("failing", failing("backup-home", 12, DAY_NS, "exit 1"), WALL_NS + 5 * HOUR_NS),
    AlarmRow("failing", failing("probe", 3, HOUR_NS, "", task="db", state=State.LOST), None, "running"),
    AlarmRow(
        "failing",
        failing("thumbnails", 1, 0, "killed by SIGTERM", state=State.TIMED_OUT, is_more=True),
        WALL_NS + 40 * SECOND_NS,
        "retry 2 of 3",
    ),
)


def test_jobs_that_fail_come_first_with_what_to_type() -> None:
    snapshot = replace(TYPICAL, alarms=FAILING, alarm_count=3)
    lines = text_of(drawn(snapshot, 80, 40)).splitlines()
    assert lines[1:6] == [
        "╭─ Failing ────────────────────────────────────────── taskman why backup-home ─╮",
        "│ ✗ backup-home   ×12  exit 1          since  5 Nov 21:20       next in 5h 00m │",
        "│ ? probe         ×3   db: lost        since 20:20:00              running now │",
        "│ ! thumbnails    ×1+  timed out                           retry 2 of 3 in 40s │",
        "╰──────────────────────────────────────────────────────────────────────────────╯",
    ]
    for size in ((160, 50), (40, 15), (80, 8)):
        assert "✗ backup-home" in text_of(drawn(snapshot, *size)).splitlines()[2 if size[1] > 8 else 1]
    assert "Failing" not in text_of(drawn(TYPICAL, 80, 40))


def test_of_many_jobs_that_fail_the_first_are_shown_and_the_others_counted() -> None:
    rows = tuple(
        AlarmRow("failing", failing(f"job-{number}", 9, 0, "exit 1"), WALL_NS) for number in range(9)
    )
    text = text_of(drawn(replace(TYPICAL, alarms=rows, alarm_count=500), 80, 60))
    assert ("✗ job-4" in text, "✗ job-5" in text, "… 495 more" in text) == (True, False, True)


def test_retries_stand_among_the_next_starts_with_their_countdown() -> None:
    retries = (
        RetryRow("r", "flaky", "main", 3, 2, 3, WALL_NS + 40 * SECOND_NS),
        RetryRow("r", "flaky", "db", 2, 1, 3, WALL_NS + DAY_NS),
    )
    text = text_of(drawn(replace(TYPICAL, retries=retries), 80, 60))
    queue = text[text.index("Queue") : text.index("Recent")].splitlines()[1:-2]
    assert [line.split()[1] for line in queue] == [
        "▸", "heartbeat", "flaky", "tidy-tmp", "certificates", "backup-home", "flaky.db", "disk-check",
        "report", "smart-test", "mirror",
    ]  # fmt: skip
    assert re.search(r"flaky +in 40s +21:20:40  retry 2 of 3", text)


def test_empty_panels_say_so() -> None:
    text = text_of(drawn(EMPTY, 80, 24))
    for words in ("nothing is running", "nothing is due", "nothing has ended yet", "0/16 workers", "0 jobs"):
        assert words in text


def test_a_scheduler_that_stops_says_so() -> None:
    for width in (20, 80, 160):
        assert "■ stopping" in text_of(drawn(replace(TYPICAL, stopping=True), width, 24))
        assert "ledger unwritable" in text_of(drawn(replace(TYPICAL, trouble="disk full"), width, 24))


@pytest.mark.parametrize("width", [20, 80, 160])
def test_the_result_of_a_reload_is_shown_below_the_header(width: int) -> None:
    bad = FilesNote(0, "jobs.toml:1:2: junk\x1b[2J", is_bad=True)
    second = text_of(drawn(replace(TYPICAL, files=bad), width, 24)).splitlines()[1]
    assert "✗ job files: jobs" in second
    assert "\x1b" not in second
    good = FilesNote(0, "reload: added job: a")
    assert "✓ reload: added" in text_of(drawn(replace(TYPICAL, files=good), width, 24)).splitlines()[1]


@pytest.mark.parametrize("state", [state for state in State if state not in {State.QUEUED, State.RUNNING}])
@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_a_result_has_its_state_as_a_mark_and_a_word(state: State, width: int) -> None:
    snapshot = replace(EMPTY, recent=(ended("nightly", state, 0, SECOND_NS),))
    (line,) = [line for line in text_of(drawn(snapshot, width, 20)).splitlines() if "nightly" in line]
    assert re.search(rf"[✓✗!?■○] nightly +{state.value.replace('_', ' ')}\b", line)


def test_main_is_left_out_of_names_and_other_tasks_are_not() -> None:
    text = text_of(drawn(TYPICAL, 160, 50))
    assert "probe.api" in text
    assert "main" not in text


def test_rows_that_do_not_fit_are_counted() -> None:
    snapshot = replace(TYPICAL, queue=tuple(queued(f"job-{n}", n * SECOND_NS) for n in range(1, 1_001)))
    assert "… 994 more" in text_of(drawn(snapshot, 80, 24))
    assert "… 998 more" in text_of(drawn(snapshot, 40, 10))


def test_the_newest_result_is_first() -> None:
    snapshot = replace(EMPTY, recent=tuple(ended(f"job-{n}", State.SUCCEEDED, 0, 0) for n in range(50)))
    text = text_of(drawn(snapshot, 80, 24))
    assert text.index("job-49") < text.index("job-48")
    assert "job-0 " not in text


def test_the_queue_shows_each_schedule_if_there_is_room() -> None:
    row = replace(queued("backup", HOUR_NS), schedule="30 2 * * MON-FRI")
    snapshot = replace(EMPTY, queue=(row, replace(queued("probe", SECOND_NS), schedule="every 15s")))
    text = text_of(drawn(snapshot, 80, 24))
    assert "22:20:00  30 2 * * MON-FRI" in text
    assert "21:20:01  every 15s" in text
    assert "every" not in text_of(drawn(snapshot, 40, 24))


def test_other_panels_do_not_move_while_rows_are_kept_for_workers() -> None:
    many, few = TYPICAL, replace(TYPICAL, workers=TYPICAL.workers[:1])
    before = text_of(render(many, width=80, height=40, timezone=UTC)).splitlines()
    after = text_of(render(few, width=80, height=40, timezone=UTC, worker_rows=5)).splitlines()
    titles = ("╭─ Workers", "╭─ Queue", "╭─ Recent")
    assert rows_with(titles, before) == rows_with(titles, after)


def test_a_frame_has_no_more_lines_than_needed() -> None:
    assert len(drawn(EMPTY, 160, 60).lines) < 20


@pytest.mark.parametrize("width", [20, 40])
def test_a_tiny_screen_still_shows_what_runs_and_what_is_next(width: int) -> None:
    text = text_of(drawn(TYPICAL, width, 5))
    assert all(word in text for word in ("running", "5/16", "● backup", "▸ probe"))


def test_markup_and_escapes_in_names_are_shown_as_they_are() -> None:
    snapshot = replace(
        EMPTY,
        queue=(queued("[red]x[/red]", SECOND_NS),),
        workers=(working("a\x1b[2Jb", 0, command="printf '\\n'\necho \x07 [bold]日本語[/bold]"),),
    )
    text = text_of(drawn(snapshot, 160, 30))
    assert "[red]x[/red]" in text
    assert r"a\x1b[2Jb" in text
    assert r"printf '\n' echo \x07 [bold]日本語[/bold]" in text


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        (Counters(), "0 started   ✓ 0 succeeded   ✗ 0 failed"),
        (
            Counters(started=1_000_000, succeeded=999_999, failed=1, spawn_waits=2),
            "1,000,000 started   ✓ 999,999 succeeded   ✗ 1 failed   2 spawn waits",
        ),
    ],
)
def test_rare_ends_are_counted_only_once_they_happened(counters: Counters, expected: str) -> None:
    assert text_of(drawn(replace(EMPTY, counters=counters), 120, 30)).splitlines()[-1].strip() == expected


def test_if_counters_do_not_fit_the_last_are_left_out_first() -> None:
    counters = Counters(
        started=9, succeeded=1, failed=2, timed_out=3, lost=4, cancelled=5, skipped=6, retried=7
    )
    line = text_of(drawn(replace(EMPTY, counters=counters), 60, 20)).splitlines()[-1]
    assert line == " ✓ 1 succeeded  ✗ 2 failed  ! 3 timed out  ? 4 lost"


SIZES = st.tuples(st.sampled_from([1, 2, 5, 20, 40, 57, 80, 110, 120, 160]), st.integers(1, 60))
TEXTS = st.text(st.characters(exclude_categories=()), max_size=60)
INSTANTS = st.integers(0, 4 * 10**18)
SNAPSHOTS = st.builds(
    Snapshot,
    now=st.builds(Now, INSTANTS, INSTANTS),
    started_ns=INSTANTS,
    jobs=st.integers(0, 10**6),
    max_workers=st.integers(0, 10**4),
    queue=st.lists(st.builds(QueueRow, TEXTS, INSTANTS, INSTANTS, st.booleans(), TEXTS), max_size=12).map(
        tuple
    ),
    workers=st.lists(
        st.builds(
            WorkerRow,
            run=TEXTS,
            job=TEXTS,
            task=st.just("main") | TEXTS,
            attempt=st.integers(1, 1000),
            pid=st.none() | st.integers(1, 4_194_304),
            started_elapsed_ns=INSTANTS,
            timeout_ns=st.none() | INSTANTS,
            note=st.just("") | TEXTS,
            command=TEXTS,
        ),
        max_size=12,
    ).map(tuple),
    ready=st.integers(0, 10**6),
    waiting_retries=st.integers(0, 10**6),
    waits=st.just("") | TEXTS,
    target=st.none() | st.integers(0, 512),
    recent=st.lists(
        st.builds(
            ResultRow,
            job=TEXTS,
            task=st.just("main") | TEXTS,
            run=TEXTS,
            attempt=st.integers(1, 1000),
            state=st.sampled_from(State),
            ended_ns=INSTANTS,
            duration_ns=INSTANTS,
            detail=TEXTS,
        ),
        max_size=12,
    ).map(tuple),
    counters=st.builds(Counters, *[st.integers(0, 10**9)] * 9),
    alarms=st.lists(
        st.builds(
            AlarmRow,
            st.just("failing"),
            st.builds(
                Failing,
                TEXTS,
                TEXTS,
                st.just("main") | TEXTS,
                st.sampled_from([State.FAILED, State.TIMED_OUT, State.LOST]),
                TEXTS,
                st.integers(1, 10**9),
                st.just(0) | INSTANTS,
                INSTANTS,
                st.booleans(),
            ),
            st.none() | INSTANTS,
            st.sampled_from(["", "running", "paused", "retry 2 of 3"]),
        ),
        max_size=12,
    ).map(tuple),
    alarm_count=st.integers(12, 99),
    retries=st.lists(
        st.builds(RetryRow, TEXTS, TEXTS, TEXTS, *[st.integers(1, 999)] * 3, INSTANTS), max_size=5
    ).map(tuple),
    stopping=st.booleans(),
    executors=st.lists(
        st.builds(
            executor,
            TEXTS,
            st.sampled_from([*Reach]),
            words=TEXTS,
            running=st.integers(0, 10**9),
            max_workers=st.none() | st.integers(1, 10**9),
            workers=st.none() | st.just(sum_of([FarWorker("a", 2, 4, 10**12)])),
        ),
        max_size=5,
    ).map(tuple),
)


@settings(deadline=None)
@given(SNAPSHOTS, SIZES, st.integers(0, 70))
def test_every_snapshot_fits_every_size(snapshot: Snapshot, size: tuple[int, int], worker_rows: int) -> None:
    width, height = size
    frame = render(snapshot, width=width, height=height, timezone=UTC, worker_rows=worker_rows)
    assert 1 <= len(frame.lines) <= height
    assert {width} == {line_width(line) for line in frame.lines}
    text = text_of(frame)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    text.encode("utf-8")


@pytest.mark.parametrize("width", [20, 40, 80, 120, 160])
@pytest.mark.parametrize("height", [5, 8, 9, 15, 16, 24, 60])
@pytest.mark.parametrize("snapshot", [EMPTY, TYPICAL], ids=["empty", "typical"])
def test_a_frame_is_as_wide_as_the_screen_and_no_taller(snapshot: Snapshot, width: int, height: int) -> None:
    lines = drawn(snapshot, width, height).lines
    assert {width} == {line_width(line) for line in lines}
    assert len(lines) <= height


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, -1)])
def test_a_screen_without_room_gets_an_empty_frame(size: tuple[int, int]) -> None:
    assert drawn(TYPICAL, *size).lines == ()


def drawn(snapshot: Snapshot, width: int, height: int) -> Frame:
    return render(snapshot, width=width, height=height, timezone=UTC)


def text_of(frame: Frame) -> str:
    """Return a frame as it would stand on the screen."""
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in frame.lines)


def rows_with(starts: tuple[str, ...], lines: list[str]) -> list[int]:
    return [row for row, line in enumerate(lines) if line.startswith(starts)]


def test_the_queue_counts_jobs_that_are_not_in_the_snapshot() -> None:
    snapshot = replace(TYPICAL, queue_more=1_900)
    whole = text_of(drawn(snapshot, 80, 60))
    assert ("… 1,900 more" in whole, "more" in text_of(drawn(TYPICAL, 80, 60))) == (True, False)


def test_the_workers_show_the_target_and_what_the_first_one_waits_for() -> None:
    snapshot = replace(TYPICAL, target=3, waits="for a CPU: 9 runnable on 2 CPUs")
    title = next(line for line in text_of(drawn(snapshot, 80, 24)).splitlines() if "Workers" in line)
    assert title.endswith(" target 3, 3 ready, 1 to retry, waits for a CPU: 9 runnable on … ─╮")
    narrow = next(line for line in text_of(drawn(snapshot, 50, 24)).splitlines() if "Workers" in line)
    assert " target 3, 3 ready, 1 to retry, waits" in narrow
