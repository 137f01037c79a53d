"""Numbers of bytes as short text."""

from __future__ import annotations


def exact_size(size_bytes: int) -> str:
    """Write a number of bytes in a binary unit that it is a multiple of: "200 MiB"; else "1.5 MB"."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        count, rest = divmod(size_bytes, 1024**power)
        if count and not rest:
            return f"{count} {unit}"
    return format_size(size_bytes, gap=" ")


def format_size(size_bytes: int, *, gap: str = "") -> str:
    """Write a number of bytes to three digits, in the units of the job file: "512B", "1.26MB", "64.1GB".

    `gap` goes between number and unit.
    """
    size: float = size_bytes
    for unit in ("B", "KB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g}{gap}{unit}"
        size /= 1000
    return f"{size:.0f}{gap}TB" if size >= 100 else f"{size:.3g}{gap}TB"
