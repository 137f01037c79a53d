"""The arguments of ssh, docker and podman."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from taskman_cli.core.sshoptions import option_fault
from taskman_cli.executors import containerargs, farside, sshargs
from taskman_cli.executors.base import Order, Result, StartFailed
from taskman_cli.executors.markedlines import MarkedLines


def order(command: str | tuple[str, ...] | None = "echo hi", **more: Any) -> Order:
    return Order(handle="h-1", job="j", task="main", run="r", attempt=1, command=command, **more)


# --- ssh ---


def test_the_host_comes_last_and_is_never_an_option() -> None:
    assert sshargs.arguments({"host": "far"})[-2:] == ["--", "far"]
    assert sshargs.arguments({"host": "far", "user": "me"})[-4:] == ["-l", "me", "--", "far"]


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=x", "", "a b", "a;b", "$(x)", "a\nb", "ssh://a/b", "a`b`", "é"]
)
def test_a_hostile_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a host"):
        sshargs.arguments({"host": host})


@pytest.mark.parametrize("user", ["-l", "a b", "a;b", "$(x)"])
def test_a_hostile_user_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a user"):
        sshargs.arguments({"host": "far", "user": user})


@pytest.mark.parametrize("host", ["far", "far.example.org", "10.0.0.1", "::1", "fe80::1%eth0", "_a-b.c"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    assert sshargs.arguments({"host": host})[-1] == host


def test_what_the_conversation_needs_comes_before_the_job_files_options() -> None:
    words = sshargs.arguments({"host": "far", "options": {"Port": "2222"}})
    assert words.index("BatchMode=yes") < words.index("Port=2222") < words.index("ServerAliveInterval=15")
    assert "RequestTTY=no" in words
    assert "ControlPath=none" in words


@pytest.mark.parametrize(
    "name", ["BatchMode", "controlpath", "USER", "HostName", "RemoteCommand", "a b", "-o"]
)
def test_an_option_that_is_not_the_job_files_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="option"):
        sshargs.arguments({"host": "far", "options": {name: "x"}})


def test_an_option_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="characters that ssh cannot take"):
        sshargs.arguments({"host": "far", "options": {"Port": "1\nProxyCommand x"}})


def test_the_faults_of_options_say_what_to_do() -> None:
    assert option_fault("Port") == ""
    assert option_fault("User") == "write it as user"
    assert option_fault("-p").startswith("not an option of ssh")


def test_a_master_has_a_socket_of_its_own() -> None:
    words = sshargs.arguments({"host": "far"}, control_path="/a%b/1", is_master=True)
    assert "ControlMaster=yes" in words
    assert "ControlPath=/a%%b/1" in words


def test_a_connection_takes_as_long_as_the_job_file_says() -> None:
    assert "ConnectTimeout=15" in sshargs.arguments({"host": "far"})
    assert "ConnectTimeout=1" in sshargs.arguments({"host": "far", "connect_timeout_ns": 1})


@pytest.mark.parametrize(
    ("number", "line"),
    [(signal.SIGTERM, b"TERM 15\n"), (9, b"KILL 9\n"), (signal.SIGRTMIN, b"34 34\n"), (40, b"40 40\n")],
)
def test_a_signal_goes_by_its_name(number: int, line: bytes) -> None:
    assert farside.signal_line(number) == line


def test_the_bootstrap_has_no_character_that_login_shells_read_differently() -> None:
    inner = farside.BOOTSTRAP.removeprefix("exec /bin/sh -c '").removesuffix("'")
    assert not {*"'\n!"} & {*inner.replace("!=", "")}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (order(None), "no command"),
        (order(env={"a-b": "1"}), "cannot set the variable"),
        (order(("a\0b",)), "NUL"),
        (order(env={"A": "\ud800"}), "no text"),
    ],
)
def test_what_a_far_shell_cannot_have_is_refused(one: Order, words: str) -> None:
    with pytest.raises(StartFailed, match=words):
        farside.start(one, nonce="n", directory="")


def test_a_handle_that_leads_elsewhere_is_never_sent() -> None:
    with pytest.raises(AssertionError):
        farside.probe("../x", nonce="n", directory="")


def test_niceness_is_set_by_its_program() -> None:
    assert b":exec 'nice' '-n' '5' 'true'\n" in farside.start(
        order(("true",), nice=5), nonce="n", directory=""
    )


# --- what comes back ---


def _split(*pieces: bytes) -> list[bytes | str]:
    lines = MarkedLines("@m@ ")
    found = [item for piece in pieces for item in lines.feed(piece)]
    rest = lines.finish()
    return [*found, rest] if rest else found


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"a\nb",), [b"a\nb"]),
        ((b"@m@ end exit 0\n",), ["end exit 0"]),
        ((b"a@m@ x\nb",), [b"a", "x", b"b"]),
        ((b"a@m", b"@ x", b"\nb"), [b"a", "x", b"b"]),
        ((b"a@m", b"b"), [b"a", b"@mb"]),
        ((b"a@m@ x",), [b"a", b"@m@ x"]),
        ((b"@m@ a\n@m@ b\n",), ["a", "b"]),
        ((b"@m@ \xff\n",), ["\ufffd"]),
    ],
)
def test_marked_lines_are_told_from_output(pieces: tuple[bytes, ...], expected: list[bytes | str]) -> None:
    assert _split(*pieces) == expected


def test_lines_are_found_however_a_stream_is_cut() -> None:
    stream = b"out@m@ one\n@@m@ two\n@m@rest"
    expected = "".join(map(str, ["one", "two"]))
    for size in range(1, len(stream) + 1):
        pieces = [stream[begin : begin + size] for begin in range(0, len(stream), size)]
        items = _split(*pieces)
        assert "".join(item for item in items if isinstance(item, str)) == expected
        assert b"".join(item for item in items if isinstance(item, bytes)) == b"out@@m@rest"


def test_a_line_that_never_ends_is_not_kept() -> None:
    with pytest.raises(ValueError, match="does not end its lines"):
        _split(b"@m@ ", b"x" * 20_000)


# --- containers ---


def _create(settings: dict[str, Any] | None = None, one: Order | None = None) -> list[str]:
    return containerargs.create(
        {"image": "box"} | (settings or {}),
        one or order(),
        inherited=["MANY"],
        env_file="/own/e",
        cid_file="/own/c",
        labels={"handle": "h-1"},
    )


def test_a_container_has_an_init_a_name_and_labels() -> None:
    assert _create() == [
        "docker", "create", "--init", "--name", "taskman-h-1", "--cidfile", "/own/c",
        "--label", "io.taskman.handle=h-1", "--env-file", "/own/e", "--env", "MANY",
        "--entrypoint", "/bin/sh", "box", "-c", "echo hi",
    ]  # fmt: skip


def test_a_command_in_words_needs_no_shell() -> None:
    assert _create(one=order(("ls", "-l")))[-4:] == ["--entrypoint", "ls", "box", "-l"]


def test_an_entry_point_gets_the_command_as_arguments() -> None:
    assert _create({"use_entrypoint": True}, order(("status",)))[-2:] == ["box", "status"]


def test_settings_and_orders_become_flags() -> None:
    settings = {
        "engine": "podman", "engine_options": ["--runtime", "runc"], "options": ["--ulimit=nofile=9:9"],
        "volumes": ["/a:/b"], "network": "none", "pull": "never", "memory": 1000, "cpu": 1.5, "processes": 9,
    }  # fmt: skip
    words = _create(settings, order(cwd="/w", stdin=b"x", user=(1, 2, (3,))))
    assert words[:4] == ["podman", "--runtime", "runc", "create"]
    assert words[words.index("--env") + 2 : words.index("--entrypoint")] == [
        "--interactive", "--user", "1:2", "--group-add", "3", "--workdir", "/w", "--volume", "/a:/b",
        "--network", "none", "--pull", "never", "--memory", "1000", "--memory-swap", "1000",
        "--cpus", "1.5", "--pids-limit", "9", "--ulimit=nofile=9:9",
    ]  # fmt: skip


def test_the_user_of_the_table_is_for_jobs_without_one() -> None:
    words = _create({"user": "me"})
    assert words[words.index("--user") + 1] == "me"
    assert "--user" not in _create()


def test_no_value_of_a_variable_is_an_argument() -> None:
    environment = containerargs.environment_of(
        order(env={"A": "one line", "B": "two\nlines"}), engine="docker"
    )
    assert environment.file == "A=one line\n"
    assert environment.inherited == {"B": "two\nlines"}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"DOCKER_HOST": "a\nb"}, "more than one line"),
        ({"PATH": "a\nb"}, "more than one line"),
        ({"A": "\udcff"}, "not UTF-8"),
        ({"A B": "x"}, "give it another name"),
        ({"#A": "x"}, "give it another name"),
    ],
)
def test_a_variable_that_cannot_get_into_a_container_is_told(env: dict[str, str], words: str) -> None:
    with pytest.raises(StartFailed, match=words):
        containerargs.environment_of(order(env=env), engine="docker")


def test_a_container_needs_a_command() -> None:
    with pytest.raises(StartFailed, match="no command"):
        _create(one=order(None))
    with pytest.raises(StartFailed, match="not UTF-8"):
        _create(one=order("echo \udcff"))


def _state(**changed: Any) -> containerargs.State | None:
    state = {"Status": "exited", "StartedAt": "2026-11-30T08:00:00Z", "ExitCode": 0, "OOMKilled": False}
    return containerargs.state_in(json.dumps([{"State": state | changed}]).encode())


def _result(sent: set[int] | None = None, **changed: Any) -> Result:
    state = _state(**changed)
    assert state is not None
    return containerargs.result_of(state, sent=sent or set(), memory=200_000_000)


def test_the_end_of_a_container_is_read() -> None:
    assert _result() == Result(exit_code=0)
    assert _result(ExitCode=137) == Result(exit_code=137)
    assert _result({9}, ExitCode=137) == Result(signal=9)
    assert _result({15}, ExitCode=137) == Result(exit_code=137)
    assert _result(ExitCode=137, OOMKilled=True) == Result(signal=9, error="over its memory limit of 200 MB")


def test_a_container_that_was_made_is_not_over() -> None:
    state = _state(Status="created", StartedAt="0001-01-01T00:00:00Z", ExitCode=127, Error="no such file")
    assert state is not None
    assert not state.has_started
    assert not state.is_over
    assert state.error == "no such file"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"[1]", b"{}", b"\xff", b'[{"State": null}]', b'[{"State": {}}]']
)
def test_an_answer_that_makes_no_sense_is_no_state(text: bytes) -> None:
    assert containerargs.state_in(text) is None
