"""The tables of the ledger, as an append-only list of migrations; `user_version` counts those that were made.

Instants are nanoseconds on the wall clock since 1970 (`*_ns`). A run is its number, which `core.engine.runs`
writes as text. States, triggers and reasons are the words of `core.model`. `events` is the journal: rows are
only added at its end, and removed at its beginning. The other tables are the state that follows from it, and
change in the same transaction.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    job TEXT,
    run INTEGER,
    task TEXT,
    attempt INTEGER,
    slot_ns INTEGER,
    -- How an attempt or a run ended; why a slot was skipped; what made a run.
    state TEXT,
    detail TEXT,
    -- What else there is to a kind of event, as a JSON object.
    data TEXT
) STRICT;

CREATE TABLE job_state (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The schedule and its limits as a JSON object, and the fewest words for a person.
    definition TEXT NOT NULL,
    -- Slots after this instant are accounted for.
    since_ns INTEGER NOT NULL,
    -- What an interval counts from.
    anchor_ns INTEGER NOT NULL,
    -- Runs so far, where `max_runs` counts them.
    run_count INTEGER NOT NULL DEFAULT 0,
    -- When a run last ended, where the interval counts from there.
    finish_ns INTEGER,
    -- When the job was found to be defined no more.
    removed_ns INTEGER
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    slot_ns INTEGER,
    trigger TEXT NOT NULL,
    -- When it was to start: its slot with the job's jitter.
    due_ns INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    queued_ns INTEGER NOT NULL,
    -- Its first attempt was about to start.
    begun_ns INTEGER,
    ended_ns INTEGER,
    detail TEXT
) STRICT;
CREATE INDEX runs_of_job ON runs (job, id);
CREATE INDEX runs_open ON runs (id) WHERE state IN ('queued', 'running');

CREATE TABLE attempts (
    run INTEGER NOT NULL,
    task TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- Whose child it is: when that supervisor started.
    supervisor INTEGER NOT NULL,
    begun_ns INTEGER NOT NULL,
    pid INTEGER,
    -- When the process came to be, on the wall clock and on the one since boot.
    started_ns INTEGER,
    started_elapsed_ns INTEGER,
    ended_ns INTEGER,
    duration_ns INTEGER,
    exit_code INTEGER,
    signal INTEGER,
    cpu_s REAL,
    peak_rss_bytes INTEGER,
    output_bytes INTEGER,
    cut_bytes INTEGER,
    detail TEXT,
    -- When the next attempt is to begin; NULL: none follows.
    next_ns INTEGER,
    PRIMARY KEY (run, task, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE skips (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    -- The first slot and the last; `count` of them, NULL: too many to count.
    slot_ns INTEGER NOT NULL,
    slot_to_ns INTEGER NOT NULL,
    count INTEGER,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- The run that was given up, where one was queued for the slot.
    run INTEGER,
    -- The run that was in the way.
    blocker INTEGER,
    -- When the first and the last of them were skipped.
    at_ns INTEGER NOT NULL,
    at_to_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX skips_of_job ON skips (job, id);

-- One row: what is so of the whole.
CREATE TABLE standing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- All slots due by this instant are accounted for.
    accounted_ns INTEGER,
    -- Which start of the machine, and which supervisor, last did what is done once in its life.
    boot TEXT,
    supervisor INTEGER,
    -- The number of a run that was made, where `runs` may know none as late.
    last_run INTEGER NOT NULL DEFAULT 0,
    -- Wall clock less the one since boot, when it was last written.
    offset_ns INTEGER
) STRICT;
INSERT INTO standing (id) VALUES (1);
"""

#: What people do to a running scheduler.
_CONTROL = """
-- The one task that a run is of, and the variables it was asked for with, as a JSON object.
ALTER TABLE runs ADD COLUMN task TEXT;
ALTER TABLE runs ADD COLUMN params TEXT;

-- Why the job has no new runs (`core.model.Pause` as a JSON object); NULL: it has.
ALTER TABLE job_state ADD COLUMN pause TEXT;
-- Tasks that are left out though the file defines them, as a JSON array; `true`: all of the job.
ALTER TABLE job_state ADD COLUMN hidden TEXT;
-- The slot that was taken before its time (`trigger --instead`): the next is after it.
ALTER TABLE job_state ADD COLUMN taken_ns INTEGER;

-- One-hit jobs that are not over, by name, as JSON objects.
CREATE TABLE once_jobs (
    name TEXT PRIMARY KEY,
    job TEXT NOT NULL
) STRICT;
"""

#: What `why` judges a moment of the past by.
_EARLIER_DEFINITIONS = """
-- Definitions of jobs that were in force once; the one that is, is in `job_state`.
CREATE TABLE definitions (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    definition TEXT NOT NULL,
    -- Slots after the one and before the other are its own.
    since_ns INTEGER NOT NULL,
    until_ns INTEGER NOT NULL,
    -- What an interval counted from.
    anchor_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX definitions_of_job ON definitions (job, id);

-- Whatever arms a job anew, what it was armed with before is kept: the latest 100 of each.
CREATE TRIGGER definition_replaced BEFORE UPDATE OF since_ns ON job_state
WHEN old.definition != '{}' AND old.since_ns < coalesce(old.removed_ns, new.since_ns)
    AND (old.definition != new.definition OR old.anchor_ns != new.anchor_ns OR old.removed_ns IS NOT NULL)
BEGIN
    INSERT INTO definitions (job, definition, since_ns, until_ns, anchor_ns) VALUES (
        old.id, old.definition, old.since_ns, coalesce(old.removed_ns, new.since_ns),
        coalesce(old.finish_ns, old.anchor_ns)
    );
    DELETE FROM definitions WHERE job = old.id AND id <= (
        SELECT id FROM definitions WHERE job = old.id ORDER BY id DESC LIMIT 1 OFFSET 100
    );
END;
"""

_LOST_OUTPUT = """
-- Why output of it is not in its file, or not all, in words; NULL: nothing went wrong.
ALTER TABLE attempts ADD COLUMN output_error TEXT;
"""

_TOLD_TO_END = """
-- What an attempt was told to end as, and when, on the wall clock and on the one since boot.
ALTER TABLE attempts ADD COLUMN ending TEXT;
ALTER TABLE attempts ADD COLUMN told_ns INTEGER;
ALTER TABLE attempts ADD COLUMN told_elapsed_ns INTEGER;
"""

#: Runs are kept from their end on, in the order of the ends: a clock may go back, the journal does not.
_ENDS = """
-- The line of the journal that tells of its end; 0: it was over before there was this; NULL: it is not.
ALTER TABLE runs ADD COLUMN ended_seq INTEGER;
UPDATE runs SET ended_seq = 0 WHERE state NOT IN ('queued', 'running');
CREATE INDEX runs_ended ON runs (job, ended_seq) WHERE ended_seq IS NOT NULL;

-- The last line of the journal when the job was found to be defined no more; 0 and NULL as above.
ALTER TABLE job_state ADD COLUMN removed_seq INTEGER;
UPDATE job_state SET removed_seq = 0 WHERE removed_ns IS NOT NULL;
CREATE INDEX jobs_removed ON job_state (removed_seq) WHERE removed_seq IS NOT NULL;
"""

_STOPPED = """
-- Since when it is stopped (`pause --stop`), on the wall clock and on the one since boot; NULL: it is not.
ALTER TABLE attempts ADD COLUMN stop_ns INTEGER;
ALTER TABLE attempts ADD COLUMN stop_elapsed_ns INTEGER;
-- How long it was stopped before that, all in all; NULL: never.
ALTER TABLE attempts ADD COLUMN stopped_for_ns INTEGER;
"""

_ZONE = """
-- The zone that the scheduler shows times in, by its name; NULL: none has said.
ALTER TABLE standing ADD COLUMN timezone TEXT;
"""

_MOVED = """
-- By how much the clock was set while the run waited, all in all: its deadline moves along. NULL: never.
ALTER TABLE runs ADD COLUMN moved_ns INTEGER;
"""

_SET_ASIDE = """
-- Rows that could not be read, as they were found; what took their place is in their tables.
CREATE TABLE set_aside (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    -- The table that it was in, and the job that it was about, as far as that is known.
    source TEXT NOT NULL,
    job TEXT,
    why TEXT NOT NULL,
    -- A JSON object.
    row TEXT NOT NULL
) STRICT;
"""

_RESOURCES = """
-- What it holds of the resources until its end, as a JSON object of amounts; NULL: nothing.
ALTER TABLE attempts ADD COLUMN holds TEXT;

-- When each resource with a rate has recovered from the starts so far, on both clocks.
CREATE TABLE rates (
    resource TEXT PRIMARY KEY,
    full_ns INTEGER NOT NULL,
    full_elapsed_ns INTEGER NOT NULL
) STRICT;
"""

_FAILURES = """
-- The failed runs since the last success, and since when and why they parked the job
-- (`core.pause.Failures` as a JSON object); NULL: there are none, or they do not matter.
ALTER TABLE job_state ADD COLUMN failures TEXT;
"""

_NEEDS = """
-- How much memory each task was found to need, in bytes.
CREATE TABLE needs (
    job INTEGER NOT NULL,
    task TEXT NOT NULL,
    need_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, task)
) STRICT;
"""

#: A run that begins and ends within one transaction is inserted with its end.
_SUCCESSES = """
-- When its last run that succeeded ended, whether the run is still on record or not; NULL: not known.
ALTER TABLE job_state ADD COLUMN success_ns INTEGER;
UPDATE job_state SET success_ns = (
    SELECT ended_ns FROM runs WHERE runs.job = job_state.id AND ended_seq IS NOT NULL AND state = 'succeeded'
    ORDER BY ended_seq DESC LIMIT 1
);
CREATE TRIGGER run_succeeded AFTER UPDATE OF ended_seq ON runs WHEN new.state = 'succeeded'
BEGIN
    UPDATE job_state SET success_ns = new.ended_ns WHERE id = new.job;
END;
CREATE TRIGGER run_inserted_succeeded AFTER INSERT ON runs WHEN new.state = 'succeeded'
BEGIN
    UPDATE job_state SET success_ns = new.ended_ns WHERE id = new.job;
END;
"""

#: Who is told of what, and how far that has got.
_SINKS = """
-- The receivers of results.
CREATE TABLE sinks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- It has been told of all that it wants to know up to this line of the journal.
    cursor INTEGER NOT NULL,
    -- How many reports it has taken; the last one, when, and what was answered.
    delivered INTEGER NOT NULL DEFAULT 0,
    delivered_seq INTEGER,
    delivered_ns INTEGER,
    answer TEXT,
    -- Since when deliveries fail, and why; NULL: they do not.
    failing_ns INTEGER,
    error TEXT
) STRICT;

-- What sinks are told, whole: by the line of the journal that it tells of.
CREATE TABLE reports (
    seq INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    job TEXT,
    -- Who is told, as a JSON object: for each sink, how many like it there were.
    sinks TEXT NOT NULL,
    -- A JSON object.
    report TEXT NOT NULL
) STRICT;

-- Reports that a sink would not take.
CREATE TABLE refused (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;

-- Trouble of jobs that goes on, and when sinks were told of it.
CREATE TABLE troubles (
    job TEXT NOT NULL,
    sink TEXT NOT NULL,
    trouble TEXT NOT NULL,
    told_ns INTEGER NOT NULL,
    untold INTEGER NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (job, sink, trouble)
) STRICT, WITHOUT ROWID;

-- Since when a success is waited for, and when it was told that none came, as a JSON array; NULL: none is.
ALTER TABLE job_state ADD COLUMN expected TEXT;
-- When it was told that it takes long.
ALTER TABLE runs ADD COLUMN slow_ns INTEGER;
-- What tells this ledger from all others.
ALTER TABLE standing ADD COLUMN identity TEXT;
UPDATE standing SET identity = lower(hex(randomblob(6)));
"""

#: Since 0.3: a run whose start was withdrawn is not told to begin once more by another scheduler.
_TOLD_RUNS = """
-- When it was told that it has begun, if no attempt says so.
ALTER TABLE runs ADD COLUMN told_ns INTEGER;
"""

_HANDLES = """
-- "EXECUTOR/NAME", by which the executor finds it again; NULL: it is a command of the supervisor.
ALTER TABLE attempts ADD COLUMN handle TEXT;
"""

_CUTS = """
-- The next message has all reports up to this line; NULL: none was cut since the cursor moved.
ALTER TABLE sinks ADD COLUMN cut_seq INTEGER;
"""

#: What is rare is found without going through all: in a ledger of ten million runs that took half a minute.
_RARE = """
-- Attempts that did not succeed. A query that has this condition, word by word, can use it. Comparisons,
-- since for IN SQLite makes a table of the list at each attempt.
CREATE INDEX attempts_unusual ON attempts (state)
    WHERE state <> 'succeeded' AND state <> 'running' AND state <> 'queued';
CREATE INDEX skips_until ON skips (at_to_ns);
"""

#: A crash in the middle of many slots that are due at once neither loses one nor runs one twice.
_DECIDED = """
-- Jobs whose slots are accounted for by a later instant than those of all; mostly empty.
CREATE TABLE decided (
    job TEXT PRIMARY KEY,
    until_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

#: Never change one that was released: add the next.
MIGRATIONS: tuple[str, ...] = (
    _FIRST, _CONTROL, _EARLIER_DEFINITIONS, _LOST_OUTPUT, _TOLD_TO_END, _ENDS, _STOPPED, _ZONE, _MOVED,
    _SET_ASIDE, _RESOURCES, _FAILURES, _NEEDS, _SUCCESSES, _SINKS, _TOLD_RUNS,
    _HANDLES, _CUTS, _RARE, _DECIDED,
)  # fmt: skip

#: Tells our files from other people's (PRAGMA application_id): "tskm".
APPLICATION_ID = 0x74736B6D
