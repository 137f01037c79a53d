"""The numbers by which the pool admits attempts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taskman_cli.core.clock import SECOND_NS


class Admission(StrEnum):
    """When a waiting attempt may start: while the machine can bear one more, or while a seat is free."""

    AUTO = "auto"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class AdmissionTuning:
    """The numbers of `admission = "auto"`; see `core/engine/admission.py` for what they do."""

    #: Start one more while there are fewer runnable tasks than this for each CPU, and these more.
    runnable_per_cpu: float = 2.0
    runnable_spare: float = 2.0
    #: For how long an attempt that was admitted counts as runnable, and signals as fresh.
    settle_ns: int = SECOND_NS // 100
    #: The same for signals while an attempt is held back for a CPU.
    settle_held_ns: int = SECOND_NS // 500
    #: The needs of all that runs may come to this share of the memory.
    memory_share: float = 0.9
    #: This share of the memory stays free.
    memory_reserve: float = 0.1
    #: For how long an attempt is young: it has not taken its memory yet.
    young_ns: int = SECOND_NS
    #: Young attempts of unknown need may take this share of what is free.
    young_share: float = 0.5
    #: What a job of unknown need is taken to need, as a share of the memory; with many CPUs, of a CPU's part.
    unknown_share: float = 0.125
    unknown_per_cpu: float = 0.25
    #: That of a CPU's part is never less than this.
    unknown_least_bytes: int = 256 << 20
    #: Once it was looked at, up to as many times what it uses now.
    unknown_growth: float = 2.0
    #: With so many known needs, it is taken to need this quantile of them.
    known_needs: int = 4
    known_quantile: float = 0.9
    #: By which share a known need falls with each run that used less.
    need_decay: float = 0.05
    #: When the memory of a command is first looked at; the age doubles up to the last look.
    look_ns: int = SECOND_NS // 4
    look_last_ns: int = 4 * SECOND_NS
    #: If that told no more than the end of the command, one of so many attempts of it is looked at.
    look_every: int = 10
    #: From this age on, it needs what it uses if that has grown by less than this since the last look.
    look_settled_ns: int = SECOND_NS // 2
    look_growth: float = 0.05
    #: It is taken to need so many times what it used then.
    look_margin: float = 1.15
    #: No start while the machine waits for memory for a larger share of the time, in this window.
    pressure: float = 0.1
    pressure_window_ns: int = SECOND_NS // 2
    #: Who is held back is looked at again after this share of the wait so far, but not sooner than the first
    #: of these, nor later than the second.
    retry_share: float = 0.1
    retry_ns: int = SECOND_NS // 100
    retry_max_ns: int = SECOND_NS
    #: The target is the most that ran at once in this window.
    target_window_ns: int = 15 * SECOND_NS
    #: It falls only by at least this share.
    target_drop: float = 0.15
    #: At most one line of the journal in this time.
    target_every_ns: int = SECOND_NS


#: `max_workers` if it is not set, by `admission`.
MAX_WORKERS = {Admission.AUTO: 512, Admission.FIXED: 64}


#: The numbers that apply if the job file sets none.
DEFAULTS = AdmissionTuning()
