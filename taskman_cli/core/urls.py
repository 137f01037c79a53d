"""What a URL has to be so that it can be asked. No message repeats a part of it, which may be secret."""

from __future__ import annotations

from urllib.parse import urlsplit

#: Where the URL of a check has the name of the job.
JOB_PLACE = "{job}"


def what_is_wrong_with_places(url: str) -> str:
    """Say why braces in the URL of a check are no place for the name of a job; "" if they are, or none."""
    if any(brace in url.replace(JOB_PLACE, "") for brace in "{}"):
        return "{job}, the name of the job, is the only place in braces: write others as %7B and %7D"
    return ""


def what_is_wrong_with_url(url: str) -> str:
    """Say why a URL cannot be asked, and what to write; "" if it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a valid URL: check its brackets and its port"
    if parts.scheme not in ("http", "https") or not host:
        return 'not a URL of a web server: write it as in "https://example.org/hook"'
    if "@" in parts.netloc:
        return 'no user or password in the URL: write headers = { Authorization = { env = "NAME" } }'
    if any(char <= " " or char == "\x7f" for char in url):
        return "blanks in a URL: write them as %20"
    return ""
