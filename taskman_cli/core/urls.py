"""What a URL has to be so that it can be asked. No message repeats a part of it, which may be secret."""

from __future__ import annotations

from urllib.parse import urlsplit


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
