"""`python -m taskman_cli.sinks.apprising`: tells one service through the library apprise, and ends.

Standard input has one JSON object: url, title, body, type. What the library logs is the answer.
"""

from __future__ import annotations

import json
import logging
import sys

#: As sysexits.h has it: the URL is nothing that it knows.
_USAGE, _FAILED = 64, 1


def main() -> int:
    """Tell the service; return the exit code."""
    import apprise

    asked = json.load(sys.stdin)
    # The library says what went wrong only in its log.
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    service = apprise.Apprise()
    if not service.add(asked["url"]):
        return _USAGE
    is_told = service.notify(
        title=asked["title"],
        body=asked["body"],
        notify_type=asked["type"],
        body_format=apprise.NotifyFormat.TEXT,
    )
    return 0 if is_told else _FAILED


if __name__ == "__main__":
    sys.exit(main())
