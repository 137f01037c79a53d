"""The quick reader of simple TOML reads as tomllib does, or leaves the text to it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.jobfile.plaintoml import read_plain

GOOD = """\
# a comment, é
[taskman]
timezone = "Europe/Stockholm" # where
watch=true
\tmissed_after  =\t'10s'

[jobs]
tidy = "@daily find /tmp"
[jobs.backup]   # the header of a table
cron = "30 2 * * *"
command = ["restic", 'backup', "a]b # c"]
retry = { max = 3, delay = "1m" }
nice = 0
priority = -5
at = 2026-12-24T15:00:00+01:00
[jobs.backup.env]
A = "with \\"escapes\\" \\u00e9"
[pool]
ageing = "none\""""


def test_simple_texts_are_read_as_tomllib_reads_them() -> None:
    assert read_plain(GOOD) == tomllib.loads(GOOD)
    assert list(read_plain(GOOD) or ()) == list(tomllib.loads(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        'a = """one\ntwo"""\n',
        "a = '''one\ntwo'''\n",
        "a = [\n1]\n",
        "a.b = 1\n",
        '"a b" = 1\n',
        "[[a]]\n",
        "[ a ]\n",
        '[a."b"]\n',
        "[a.b.c.d.e.f.g.h.i.j.k]\n",
        "a = { b" + ".b" * 300 + " = 1 }\n",
    ],
)
def test_what_is_not_simple_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None
    tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = 1\na = 2\n",
        "[a]\n[a]\n",
        "[a]\nb = 1\n[a.b]\n",
        "[a]\nb = { c = 1 }\n[a.b]\n",
        "[a]\nb = { c = 1 }\n[a.b.d]\n",
        "[a.b]\n[a]\nb = 1\n",
        "a = 1\n[a]\n",
        "a = \n",
        "a = 01\n",
        "a = +\n",
        'a = "one\n',
        'a = "one" two\n',
        "a = 'one' 'two'\n",
        'a = "\x07"\n',
        "a = '\x7f'\n",
        "# \x00\n",
        "a = 1 # \x1f\n",
        "a = 1\r",
        "a\n",
        "[a\n",
        "[a] b\n",
        "[a..b]\n",
        "[a.]\n",
        "é = 1\n",
        "a = \u0661\n",
        "a = " + "9" * 5000 + "\n",
        "a = " + "[" * 100_000 + "\n",
    ],
)
def test_what_is_wrong_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None
    with pytest.raises((ValueError, RecursionError)):
        tomllib.loads(text)


KEYS = st.sampled_from(["a", "b", "c-1", "1", "_"])
HEADERS = st.lists(KEYS, min_size=1, max_size=3).map(lambda parts: f"[{'.'.join(parts)}]")
VALUES = st.sampled_from(
    [
        '""', '"x"', "'y'", "''", '"\\n"', '"\\q"', '"é"', "0", "7", "00", "-1", "1_000", "1.5", "inf",
        "true", "false", "True", "[]", "[1, 2]", "[1", "{}", "{ a = 1 }", "{ a = { b = 1 } }", "{ a = 1",
        "1979-05-27", "07:32:00", '"""x"""', '"""', "'''", "x", "", "1 2", '"x" "y"', "'a' # b", "1 # c",
        "1#d",
    ]
)  # fmt: skip
PAIRS = st.builds("{} = {}".format, KEYS, VALUES)
ODD = st.sampled_from(
    ["", "# c", "a.b = 1", "[[a]]", "]", '"""', "\x07", "\ufeff", "[ a ]", "\t", "a", "= 1"]
)
BLANKS = st.sampled_from(["", " ", "\t"])
LINES = st.builds("{}{}{}".format, BLANKS, PAIRS | PAIRS | HEADERS | HEADERS | ODD, BLANKS)


@given(st.lists(LINES, max_size=8).map("\n".join), st.sampled_from(["", "\n"]))
def test_it_reads_as_tomllib_does_or_not_at_all(lines: str, end: str) -> None:
    text = lines + end
    read = read_plain(text)
    if read is not None:
        assert repr(read) == repr(tomllib.loads(text))


@given(st.text(alphabet="ab=[].'\"#\\ \n\t1{},", max_size=40))
def test_it_reads_any_text_as_tomllib_does_or_not_at_all(text: str) -> None:
    read = read_plain(text)
    if read is not None:
        assert repr(read) == repr(tomllib.loads(text))
