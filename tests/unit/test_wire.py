"""Frames: whatever the socket does to them, the messages arrive whole and in order, or not at all."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.model import State
from taskman_cli.supervisor import wire
from taskman_cli.supervisor.wire import MAX_FRAME_BYTES, Channel, WireError


class Pipe:
    """What one socket end sends, for another to receive; takes and gives `step` bytes at a time."""

    def __init__(self, *, step: int = 1 << 16, room: int = 1 << 30) -> None:
        self.data = bytearray()
        self.step = step
        self.room = room
        self.is_ended = False
        self.is_broken = False

    def setblocking(self, _: bool) -> None:
        pass

    def close(self) -> None:
        self.is_ended = True

    def send(self, data: bytes) -> int:
        if self.is_broken:
            raise BrokenPipeError
        if self.room == 0:
            raise BlockingIOError
        taken = min(self.step, self.room, len(data))
        self.data += data[:taken]
        self.room -= taken
        return taken

    def recv(self, size: int) -> bytes:
        if self.is_broken:
            raise ConnectionResetError
        if not self.data:
            if self.is_ended:
                return b""
            raise BlockingIOError
        taken = bytes(self.data[: min(self.step, size)])
        del self.data[: len(taken)]
        return taken


def channel(pipe: Pipe) -> Channel:
    return Channel(pipe)  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
BATCHES = st.lists(st.lists(st.lists(VALUES, max_size=4).map(tuple), max_size=4), max_size=4)


@given(batches=BATCHES, step=st.integers(1, 40))
def test_what_is_sent_is_received(batches: list[list[tuple[Any, ...]]], step: int) -> None:
    pipe = Pipe(step=step)
    end = channel(pipe)
    for batch in batches:
        end.send(batch)
    pipe.is_ended = True
    received: list[Any] = []
    while (messages := end.receive()) is not None:
        received += messages
    assert received == [message for batch in batches for message in batch]


def test_nothing_there_is_no_message_and_no_end() -> None:
    assert channel(Pipe()).receive() == []


def test_what_the_socket_does_not_take_waits_for_flush() -> None:
    pipe = Pipe(room=3)
    end = channel(pipe)
    end.send([("one",)])
    end.send([("two",)])
    assert end.wants_write
    assert end.receive() == []
    pipe.room = 1 << 20
    end.flush()
    pipe.is_ended = True
    # The first three bytes were read with the receive above.
    assert end.receive() == [("one",), ("two",)]
    assert end.receive() is None


def test_a_half_sent_message_is_dropped_at_the_end() -> None:
    pipe = Pipe()
    end = channel(pipe)
    end.send([("whole",)])
    end.send([("cut off",)])
    del pipe.data[-1:]
    pipe.is_ended = True
    assert end.receive() == [("whole",)]
    assert end.receive() is None
    assert end.receive() is None


def test_a_reset_is_an_end() -> None:
    pipe = Pipe()
    pipe.is_broken = True
    assert channel(pipe).receive() is None


def test_sending_to_a_peer_that_is_gone_is_no_error() -> None:
    pipe = Pipe()
    pipe.is_broken = True
    end = channel(pipe)
    end.send([("lost",)])
    end.send([("lost too",)])
    assert not end.wants_write


def test_after_close_nothing_is_sent() -> None:
    pipe = Pipe(room=0)
    end = channel(pipe)
    end.send([("waits",)])
    end.close()
    end.send([("late",)])
    assert not end.wants_write
    assert pipe.data == b""


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


GARBAGE = {
    "no marshal data": frame(b"?garbage"),
    "nothing in it": frame(b""),
    "cut short inside": frame(marshal.dumps([("x", "long enough")])[:-3]),
    "not a list": frame(marshal.dumps({"a": 1})),
    "too long": (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused(data: bytes) -> None:
    pipe = Pipe()
    pipe.data += data
    with pytest.raises(WireError):
        channel(pipe).receive()


def test_messages_that_are_too_long_for_one_frame_go_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 100)
    messages = [("x", number, b"." * 40) for number in range(9)]
    pipe = Pipe()
    end = channel(pipe)
    end.send(messages)
    assert end.receive() == messages


CULPRITS = {
    "too long": (("start", "b", b"." * 200), "a message of .* bytes is too long: start b$"),
    "not for marshal": (("start", "b", State.FAILED), "does not know .*: start b$"),
}


@pytest.mark.parametrize(("culprit", "words"), CULPRITS.values(), ids=CULPRITS)
@pytest.mark.parametrize("others", [0, 1, 5])
def test_a_message_that_cannot_be_sent_is_named_and_none_is_sent(
    monkeypatch: pytest.MonkeyPatch, culprit: tuple[Any, ...], words: str, others: int
) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 100)
    other = ("x", b"." * 40)
    pipe = Pipe()
    end = channel(pipe)
    with pytest.raises(WireError, match=words) as caught:
        end.send([*[other] * others, culprit, *[other] * others])
    assert caught.value.culprit is culprit
    assert (bytes(pipe.data), end.wants_write) == (b"", False)
