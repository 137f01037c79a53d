"""What `[metrics]` takes, and what it says of the rest."""

from __future__ import annotations

import pytest

from taskman_cli.jobfile import loads
from taskman_cli.jobfile.problems import JobFileError

JOBS = "\n[jobs]\na = '@daily true'\n"


def settings(line: str) -> tuple[str | None, str | None, bool]:
    found = loads(f"[metrics]\n{line}{JOBS}", timezone="UTC").settings
    return found.metrics_listen, found.metrics_textfile, found.metrics_jobs


@pytest.mark.parametrize(
    ("given", "listen"),
    [
        ("127.0.0.1:9464", "127.0.0.1:9464"), ("localhost:09464", "127.0.0.1:9464"), ("[::1]:0", "[::1]:0"),
        ("[0:0::1]:65535", "[::1]:65535"), ("0.0.0.0:80", "0.0.0.0:80"), ("/run/m.sock", "/run/m.sock"),
        ("none", None),
    ],
)  # fmt: skip
def test_where_to_listen_is_an_address_with_a_port_or_a_path(given: str, listen: str | None) -> None:
    assert settings(f'listen = "{given}"') == (listen, None, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "listen = 9464",
            'expected an address with a port, or a path, got a number: write it as in "127',
        ),
        ('listen = ":9464"', "does not begin with an IP address: write 127.0.0.1"),
        ('listen = "9464"', "is not an address with a port"),
        ('listen = ""', "is not an address with a port"),
        ('listen = "127.0.0.1"', "is not an address with a port"),
        ('listen = "127.0.0.1:65536"', "is not an address with a port"),
        ('listen = "127.0.0.1:-1"', "is not an address with a port"),
        ('listen = "::1:9464"', "is not an address with a port"),
        ('listen = "[127.0.0.1]:9464"', "has its brackets wrong: only IPv6 addresses have them"),
        ('listen = "[::1:9464"', "is not an address with a port"),
        ('listen = "example.org:9464"', "does not begin with an IP address"),
        ('listen = "http://127.0.0.1:9464/metrics"', "is not an address with a port"),
        ('listen = "unix:/run/m.sock"', "is not an address with a port"),
        ('textfile = "/var/lib/taskman.txt"', "must end in .prom: collectors read no other files"),
        ('textfile = ""', "empty: leave the key out or name a path"),
        ("textfile = true", "expected a string, got true"),
        ('jobs = "yes"', "true or false"),
        ("port = 1", "unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_the_fix(line: str, words: str) -> None:
    with pytest.raises(JobFileError) as raised:
        settings(line)
    assert [words in problem.message for problem in raised.value.problems] == [True], raised.value.problems


def test_jobs_can_be_left_out_and_a_file_be_written() -> None:
    assert settings('textfile = "/t/a.prom"\njobs = false') == (None, "/t/a.prom", False)
