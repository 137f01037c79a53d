"""What was collected as plain data, for `--json`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.metrics.families import FAMILIES, HISTOGRAM, JOB_FAMILIES
from taskman_cli.metrics.text import sample_name

if TYPE_CHECKING:
    from taskman_cli.metrics.families import Collected, Family, JobFamily


def document(collected: Collected) -> list[dict[str, Any]]:
    """Return each metric with its samples."""
    families = [_described(family) | {"samples": _samples(family, collected)} for family in FAMILIES]
    if collected.whole["with_jobs"]:
        families += [
            _described(of_jobs) | {"samples": _of_jobs(of_jobs, collected)} for of_jobs in JOB_FAMILIES
        ]
    return families


def _described(family: Family | JobFamily) -> dict[str, Any]:
    return {"metric": sample_name(family), "type": family.kind, "help": family.help}


def _samples(family: Family, collected: Collected) -> list[dict[str, Any]]:
    if family.kind == HISTOGRAM:
        *buckets, (_, total_s) = family.read(collected)
        below = {labels["le"]: count for labels, count in buckets}
        return [{"labels": {}, "buckets": below, "count": buckets[-1][1], "sum": total_s}]
    return [{"labels": labels, "value": value} for labels, value in family.read(collected)]


def _of_jobs(family: JobFamily, collected: Collected) -> list[dict[str, Any]]:
    second = family.labels[1:]
    return [
        {
            "labels": {"job": row[0]} | dict.fromkeys(second, text),
            "value": row[index] / family.per if family.per > 1 else int(row[index]),
        }
        for index, text in family.columns
        for row in collected.jobs
        if row[index] is not None
    ]
