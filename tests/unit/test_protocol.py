"""Requests as lines: what is written is read again, and whatever else comes is refused in words."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.protocol import (
    REQUESTS,
    VERSION,
    ProtocolError,
    Request,
    RunOnce,
    Status,
    TriggerJob,
    decode,
    encode,
)

#: Names of files and variables may hold bytes that are no text; Python keeps them as U+DC80..U+DCFF.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"))
NUMBERS = st.integers(-(1 << 61), 1 << 61)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return what fits a type of a request's field."""
    if get_origin(hint) is list:
        return st.lists(values_of(get_args(hint)[0]), max_size=4)
    if get_origin(hint) is dict:
        return st.dictionaries(TEXT, values_of(get_args(hint)[1]), max_size=4)
    if get_args(hint):
        return st.one_of(*map(values_of, get_args(hint)))
    return {str: TEXT, int: NUMBERS, bool: st.booleans(), type(None): st.none()}[hint]


def requests() -> st.SearchStrategy[Request]:
    return st.one_of(*map(requests_of, REQUESTS.values()))


def requests_of(kind: type[Request]) -> st.SearchStrategy[Request]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{item.name: values_of(hints[item.name]) for item in fields(kind)})


def refusal(line: bytes) -> str:
    with pytest.raises(ProtocolError) as raised:
        decode(line)
    return str(raised.value)


@given(requests())
def test_what_is_written_is_read_again(request: Request) -> None:
    line = encode(request)
    assert line.index(b"\n") == len(line) - 1
    assert request == decode(line)


def test_only_what_differs_from_the_defaults_is_written_since_an_earlier_scheduler_may_not_know_it() -> None:
    line = encode(TriggerJob(job="job", env={"A": "1"}))
    assert json.loads(line) == {"v": VERSION, "do": "trigger", "job": "job", "env": {"A": "1"}}


def test_every_request_has_a_word_of_its_own() -> None:
    assert len(get_args(Request)) == len(REQUESTS)
    assert {kind.do: kind for kind in get_args(Request)} == REQUESTS


@given(st.binary())
def test_any_bytes_are_a_request_or_a_protocol_error(line: bytes) -> None:
    decode_or_refuse(line)


@given(st.sampled_from(sorted(REQUESTS)), st.dictionaries(st.text(), JSON), st.data())
def test_any_parameters_are_a_request_or_a_protocol_error(
    do: str, more: dict[str, Any], data: st.DataObject
) -> None:
    names = [item.name for item in fields(REQUESTS[do])]
    known = {name: data.draw(JSON) for name in names if data.draw(st.booleans())}
    decode_or_refuse(json.dumps(known | more | {"do": do}).encode())


@given(requests(), st.data())
def test_a_line_with_other_bytes_in_it_is_a_request_or_a_protocol_error(
    request: Request, data: st.DataObject
) -> None:
    line = bytearray(encode(request))
    begin = data.draw(st.integers(0, len(line)))
    line[begin : data.draw(st.integers(begin, len(line)))] = data.draw(st.binary(max_size=4))
    decode_or_refuse(bytes(line))


def decode_or_refuse(line: bytes) -> None:
    try:
        request = decode(line)
    except ProtocolError:
        return
    # What comes of it is a request like any other.
    assert request == decode(encode(request))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["lists", "objects"])
@pytest.mark.parametrize("place", [b"", b'{"do":', b'{"v":', b'{"do":"show","job":', b'{"do":"status","x":'])
def test_a_line_of_nothing_but_openings_is_refused(place: bytes, opening: bytes) -> None:
    refusal(place + opening * 200_000)


@pytest.mark.parametrize("place", ['{"do":%s}', '{"v":%s}', '{"do":"show","job":%s}'])
@pytest.mark.parametrize("depth", [10, 900, 980, 990, 1000, 5000])
def test_what_is_nested_deeply_is_refused_at_any_depth(place: str, depth: int) -> None:
    refusal((place % ("[" * depth + "]" * depth)).encode())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\xff\xfe", "not JSON: "),
        (b"[]", "not an object"),
        (b"{}", "unknown request None: not one of status, metrics, list,"),
        (b'{"do": "fly"}', "unknown request 'fly': not one of status,"),
        (b'{"do": ["status"]}', "unknown request ['status']: not one of status,"),
        (b'{"do": "status", "v": 2}', f"version 2 is not supported, only {VERSION}"),
        (b'{"do": "fly", "v": "x"}', f"version 'x' is not supported, only {VERSION}"),
        (b'{"do": "status", "now": true}', "status has no parameter 'now'"),
        (b'{"do": "show"}', "show requires job"),
        (b'{"do": "show", "job": null}', "show: job cannot be null"),
        (b'{"do": "pause", "jobs": "all"}', 'pause: jobs cannot be "all"'),
        (b'{"do": "pause", "jobs": [1]}', "pause: jobs cannot be [1]"),
        (b'{"do": "pause", "all": 1}', "pause: all cannot be 1"),
        (b'{"do": "pause", "for_ns": true}', "pause: for_ns cannot be true"),
        (b'{"do": "pause", "for_ns": 1.5}', "pause: for_ns cannot be 1.5"),
        (b'{"do": "pause", "for_ns": 9223372036854775808}', "pause: for_ns cannot be 9223372036854775808"),
        (b'{"do": "trigger", "job": "a", "env": {"A": 1}}', 'trigger: env cannot be {"A": 1}'),
        (b'{"do": "once", "command": ["a"], "env": {}}', "once requires cwd, umask"),
    ],
)
def test_a_refusal_says_what_is_wrong(line: bytes, words: str) -> None:
    assert refusal(line).startswith(words)


def test_the_version_may_be_left_out() -> None:
    assert Status() == decode(b'{"do": "status"}')


def test_a_command_may_be_words_or_a_string() -> None:
    words = RunOnce(command=["ls", "-l"], cwd="/", env={}, umask=0o22)
    text = RunOnce(command="ls -l", cwd="/", env={}, umask=0o22)
    assert [words, text] == [decode(encode(words)), decode(encode(text))]


def test_bytes_that_are_no_utf8_come_through_and_other_half_pairs_are_refused() -> None:
    request = RunOnce(command="echo \udcff", cwd="/", env={"A": "\udc80"}, umask=0)
    assert request == decode(encode(request))
    with pytest.raises(ProtocolError, match="once: command cannot be"):
        decode(encode(RunOnce(command="\ud800", cwd="/", env={}, umask=0)))
