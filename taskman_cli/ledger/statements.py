"""The statements that record runs, attempts and events, and the positions of columns in their rows.

Texts that may contain bytes which are not UTF-8 are cast: see texts.py. In columns that are mostly NULL,
`ABSENT` is bound, and the statement makes it NULL: Python's module searches an adapter for each None, as for
each member of an enum, which takes ten times as long as binding a text.
"""

from __future__ import annotations

#: Bound in place of None. None does as well.
ABSENT = ""

RUN_STATE, RUN_BEGUN, RUN_ENDED, RUN_DETAIL, RUN_ENDED_SEQ, RUN_MOVED = 5, 7, 8, 9, 12, 13
ATTEMPT_STATE, SPAWN, END, TOLD, STOP = 3, slice(6, 9), slice(9, 20), slice(20, 23), slice(23, 26)
#: Columns of an attempt that has only begun, and of any other.
BEGUN_COLUMNS, ATTEMPT_COLUMNS = 6, 26

INSERT_RUN = (
    "INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns, detail,"
    " task, params, ended_seq, moved_ns) VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, ''), nullif(?, ''),"
    " CAST(nullif(?, '') AS TEXT), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''))"
)
BEGIN_RUN = "UPDATE runs SET state = 'running', begun_ns = ? WHERE id = ? AND state = 'queued'"
UNBEGIN_RUN = (
    "UPDATE runs SET state = 'queued', begun_ns = NULL"
    " WHERE id = ? AND NOT EXISTS (SELECT 1 FROM attempts WHERE run = ?)"
)
MOVE_INTERVALS = (
    "UPDATE job_state SET anchor_ns = anchor_ns + ?, finish_ns = finish_ns + ?,"
    " since_ns = max(since_ns, (SELECT coalesce(accounted_ns, 0) FROM standing),"
    " coalesce((SELECT until_ns FROM decided WHERE job = name), 0)) + ?"
    " WHERE definition GLOB '*\"every_ns\"*' AND definition NOT GLOB '*\"starts_at_ns\"*'"
)
MOVE_RUNS = (
    "UPDATE runs SET moved_ns = coalesce(moved_ns, 0) + ?"
    " WHERE state IN ('queued', 'running') AND begun_ns IS NULL"
    " AND id NOT IN (SELECT value FROM json_each(?))"
)
TELL_RUN = "UPDATE runs SET told_ns = ? WHERE id = ?"
SLOW_RUN = "UPDATE runs SET slow_ns = ? WHERE id = ?"
CANCEL_RUN = "UPDATE runs SET is_cancelled = 1 WHERE id = ?"
END_RUN = (
    "UPDATE runs SET state = ?, ended_ns = ?, detail = CAST(nullif(?, '') AS TEXT), ended_seq = ?"
    " WHERE id = ?"
)
#: One that has only begun, in the order of its columns, then what it holds and its handle.
BEGIN_ATTEMPT = (
    "INSERT INTO attempts (run, task, number, state, supervisor, begun_ns, holds, handle)"
    " VALUES (?, ?, ?, ?, ?, ?, nullif(?, ''), nullif(?, ''))"
)
INSERT_ATTEMPT = (
    "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?,"
    " CAST(nullif(?, '') AS TEXT), nullif(?, ''), CAST(nullif(?, '') AS TEXT), ?, ?, ?, ?, ?, ?, NULL, NULL)"
)
SPAWN_ATTEMPT = (
    "UPDATE attempts SET pid = ?, started_ns = ?, started_elapsed_ns = ?"
    " WHERE run = ? AND task = ? AND number = ?"
)
HANDLE_ATTEMPT = "UPDATE attempts SET handle = ? WHERE run = ? AND task = ? AND number = ?"
HOLD_ATTEMPT = "UPDATE attempts SET holds = ? WHERE run = ? AND task = ? AND number = ?"
STOP_ATTEMPT = (
    "UPDATE attempts SET stop_ns = ?, stop_elapsed_ns = ? WHERE run = ? AND task = ? AND number = ?"
)
CONTINUE_ATTEMPT = (
    "UPDATE attempts SET stop_ns = NULL, stop_elapsed_ns = NULL, stopped_for_ns = ?"
    " WHERE run = ? AND task = ? AND number = ?"
)
TELL_ATTEMPT = (
    "UPDATE attempts SET ending = ?, told_ns = ?, told_elapsed_ns = ?"
    " WHERE run = ? AND task = ? AND number = ?"
)
END_ATTEMPT = (
    "UPDATE attempts SET state = ?, pid = coalesce(?, pid), started_ns = coalesce(?, started_ns),"
    " started_elapsed_ns = coalesce(?, started_elapsed_ns), ended_ns = ?, duration_ns = ?, exit_code = ?,"
    " signal = nullif(?, ''), cpu_s = ?, peak_rss_bytes = ?, output_bytes = ?, cut_bytes = ?,"
    " detail = CAST(nullif(?, '') AS TEXT), next_ns = nullif(?, ''),"
    " output_error = CAST(nullif(?, '') AS TEXT)"
    " WHERE run = ? AND task = ? AND number = ?"
)
INSERT_EVENT = (
    "INSERT INTO events (seq, at_ns, kind, job, run, task, attempt, slot_ns, state, detail, data)"
    " VALUES (?, ?, ?, nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''),"
    " nullif(?, ''), CAST(nullif(?, '') AS TEXT), nullif(?, ''))"
)
