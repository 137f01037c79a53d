"""What a line says besides its message: names and values for programs, which stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

#: The names, in the order in which they are written. docs/logs.md describes each.
FIELDS = (
    "event", "job", "task", "run", "attempt", "state", "reason", "detail", "trigger", "slot", "slot_to",
    "count", "exit_code", "signal", "duration_s", "cpu_s", "peak_rss_bytes", "retry_in_s",
    "output", "output_error", "pid", "by", "error",
)  # fmt: skip

#: What `journalctl MESSAGE_ID=` selects, by event.
MESSAGE_IDS = {
    "succeeded": "0fbc81bab4b84e86a81ffcb079786c91",
    "failed": "d99688337a5f43319dd975c1219dc204",
    "timed_out": "8759bbf3be4b434eb614773ba634ae14",
    "cancelled": "1a046f8d78654c6a8de3904aed4cd98e",
    "lost": "7150cf82fc4e4556a87bbb0c872437c6",
    "skipped": "a07e199d2ac84ee8960dc914f42edf3a",
    "queued": "dc4c02ebcf6943ccb16d6ccca2b90a06",
    "begun": "692975f9a2c34d70b2845d0b551464ac",
    "finished": "b205f5dbb2584e6fb6d84475549df905",
    "adopted": "c1e5a2ff8de848b3a16365637da56a89",
    "stopped": "cd92a7cb71074a39b19e9b261b6166c6",
    "continued": "8652df3443704edeadd57e2511ac5051",
    "stuck": "168dc0c210d84a7787a79340447c765f",
    "survivors": "9eb8f7d837754384bb56b4001400d6a8",
    "parked": "095f6c54646e4a1397e5e9aa7ff1ed48",
    "unparked": "6e246a2e5db14f18b0015542f07b3f0e",
    "spawn_delayed": "b1597f02429549b8b8441617079dbeca",
    "clock_stepped": "8a2fc48617f74574afdc69fea0e66ad0",
    "suspended": "7f4917567d3a499a86b137c7b1d20db4",
    "jobs_loaded": "6fd07c2b806c45898fce5376befcbeeb",
    "reloaded": "ec80718cc2b2482e8be14de42e4da1e0",
    "reload_failed": "44fafd1ba4f6466cbd7f693aa59e78ab",
    "scheduler_started": "42fb56a9c2344f7fada5529a7279383c",
    "scheduler_stopped": "4d843e185a28485bb59b2b903feb1db0",
    "scheduler_died": "868583270dbf47d09d9796ef928ef5f6",
    "set_aside": "5db9f6bdeb2e47b5acac21404d2d49a2",
    "ledger_unwritable": "8ce3dbb3d4ff45ce825cdf9d819623d7",
    "ledger_writable": "ffcb8fceec69447e98f362c1ceff1fb9",
    "dropped": "c2b1856911134410ac59c909d5ab4620",
}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record, as `extra` of `logging` has put them there."""
    values = record.__dict__
    return {name: values[name] for name in FIELDS if name in values}
