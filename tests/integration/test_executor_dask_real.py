"""Type "dask" with a real cluster of the tests' own: a scheduler and workers, with TLS."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dask_cluster import DaskCluster, make_certificates, why_not
from integration.executor_driver import Attempt, driven, outcome_on, until
from process_table import is_alive
from wait import wait_until

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Order,
    Result,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.checking import look
from taskman_cli.executors.dask import DaskExecutor, make
from taskman_cli.executors.dasklink import Broken
from taskman_cli.executors.daskorder import spec_of
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.testing import check, in_shell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]
_handles = (f"h-{os.getpid()}-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Give one with two workers, of which one has a GPU."""
    directory = tmp_path_factory.mktemp("dask")
    running = DaskCluster(directory, tls=make_certificates(directory))
    try:
        running.start_worker("plain")
        running.start_worker("strong", "--resources", "gpu=2")
        yield running
    finally:
        running.stop()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """Give one without TLS and without workers, for a test that kills parts of it."""
    running = DaskCluster(tmp_path)
    try:
        yield running
    finally:
        running.stop()


class Farm:
    """Executors of one cluster."""

    def __init__(self, cluster: DaskCluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory / "own"
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.settings = cluster.settings

    def executor(self) -> DaskExecutor:
        around = Surroundings(ledger="ledger", directory=self.directory)
        return make(ExecutorDefinition("farm", "dask", settings=self.settings), around)

    def play(self, play: Callable[[Any], Awaitable[None]]) -> None:
        driven(self.executor, play)

    def outcome(self, order: Order) -> tuple[Result, bytes]:
        """Run one attempt to its end, and let it go."""
        return outcome_on(self.executor, order)

    def refusal(self, order: Order) -> StartFailed:
        with pytest.raises(StartFailed) as caught:
            self.outcome(order)
        return caught.value


@pytest.fixture
def farm(cluster: DaskCluster, tmp_path: Path) -> Farm:
    return Farm(cluster, tmp_path)


def order(command: str | tuple[str, ...], **more: Any) -> Order:
    return Order(handle=next(_handles), job="j", task="main", run="r", attempt=1, command=command, **more)


def test_commands_on_a_cluster_conform(farm: Farm) -> None:
    # They go on for a while without us, and are found again.
    check(farm.executor, say=in_shell, finds_again=True, without=["closed while it runs"])


def test_commands_through_the_scheduler_alone_conform(farm: Farm) -> None:
    farm.settings["direct"] = False
    some = ["exit codes", "huge output", "stdin", "TERM, then KILL", "many at once", "found again"]
    check(farm.executor, say=in_shell, finds_again=True, only=some)


def test_a_connection_that_is_cut_loses_no_output_and_no_end(farm: Farm) -> None:
    def sever(executor: Any) -> None:
        link = executor._cluster._link
        for line in executor._lines.values():
            line._lose("cut")
            line._poller.cancel()
        link._idle.clear()

    check(farm.executor, say=in_shell, finds_again=True, sever=sever, only=["lost connection"])


def test_use_of_cpu_and_memory_is_told(farm: Farm) -> None:
    result, _ = farm.outcome(order("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"))
    assert result.exit_code == 0
    assert result.cpu_s > 0.01
    assert 1 << 20 < result.peak_rss_bytes < 200 << 20


def test_a_command_runs_in_a_session_of_its_own_with_what_the_job_sets(farm: Farm, tmp_path: Path) -> None:
    command = 'echo "$PWD $(umask) $(nice) $A"; [ "$(ps -o sid= -p $$ | tr -d " ")" = $$ ] && echo leads'
    result, output = farm.outcome(order(command, cwd=str(tmp_path), umask=0o027, nice=3, env={"A": "é"}))
    assert result.exit_code == 0
    assert output.decode() == f"{tmp_path} 0027 {os.nice(0) + 3} é\nleads\n"


def test_a_handle_that_a_keeper_has_seen_is_not_started_again(farm: Farm, tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def play(executor: DaskExecutor) -> None:
        one = order(f"echo x >>{marks}; sleep 30")
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.started()
        keeper = executor._places.of(one.handle)
        assert keeper is not None
        for tries in (1, 2, 9):
            assert await executor._line(keeper).ask("start", one.handle, tries, spec_of(one)) == ("known",)
        await executor.signal(attempt.work, signal.SIGKILL)
        await attempt.result()
        await executor.forget(one)

    farm.play(play)
    assert marks.read_text() == "x\n"


def test_a_start_that_was_called_off_is_not_carried_out_when_it_arrives(farm: Farm, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def play(executor: DaskExecutor) -> None:
        one = order(f"touch {mark}")
        assert isinstance(await executor.probe(one), Absent)
        [keeper, *_] = executor._cluster.keepers()
        spec = {
            "argv": [b"touch", bytes(mark)],
            "env": [],
            "cwd": None,
            "stdin": None,
            "umask": None,
            "nice": 0,
        }
        assert await executor._line(keeper).ask("start", one.handle, 1, spec) == ("void", 1000)
        assert not mark.exists()
        # But the attempt itself may be asked for again.
        attempt = Attempt(executor, one)
        attempt.begin()
        assert (await attempt.result()).exit_code == 0
        await executor.forget(one)

    farm.play(play)
    assert mark.exists()


def test_two_processes_of_an_executor_are_told_the_same_command_apart_by_its_handle(farm: Farm) -> None:
    """The first is killed; the second finds what it began, from the first byte that was not written."""
    one = order("echo first; sleep 1; echo second; exit 5")

    async def begin(executor: DaskExecutor) -> None:
        attempt = Attempt(executor, one)
        task = attempt.begin()
        await attempt.printed(b"first\n")
        await executor.close()
        with pytest.raises(ConnectionLost):
            await task

    async def go_on(executor: DaskExecutor) -> None:
        assert isinstance(await executor.probe(one), Running)
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        assert (await again.result()).exit_code == 5
        assert bytes(again.output) == b"second\n"
        await executor.forget(one)

    farm.play(begin)
    farm.play(go_on)


def test_what_an_earlier_process_was_given_and_had_not_asked_for_was_not_begun(farm: Farm) -> None:
    before, given, asked = order("true"), order("true"), order("true")

    async def look(executor: DaskExecutor) -> None:
        for which in (before, *more):
            standing = await executor.probe(which)
            assert isinstance(standing, Absent)
            is_sure.append(standing.is_unbegun)

    is_sure: list[bool] = []
    more: list[Order] = []
    farm.play(look)
    # Before the first process there were no notes; the second knows no more than it did.
    assert is_sure == [False]
    (farm.directory / f"{asked.handle}.count").touch()
    more += [given, asked]
    farm.play(look)
    assert is_sure[1:] == [False, True, False]
    known = farm.directory / "keepers.json"
    known.write_text(known.read_text().replace('"boot": "', '"boot": "another'))
    farm.play(look)
    farm.play(look)
    assert is_sure[4:] == 6 * [False]


def test_a_start_that_did_not_arrive_begins_anew_when_its_worker_answers_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_: object) -> None:
        raise Broken("cut")

    async def unknown(_: str) -> Unknown:
        return Unknown("cut")

    async def play(executor: DaskExecutor) -> None:
        attempt = Attempt(executor, order("echo hello"))
        with monkeypatch.context() as patch:
            patch.setattr(executor, "_ask_for", cut)
            patch.setattr(executor, "probe_handle", unknown)
            attempt.begin()
            with pytest.raises(ConnectionLost):
                await attempt.result()
        standing = await executor.probe(attempt.order)
        assert standing == Absent("its worker knows nothing of it", is_unbegun=True)
        again = Attempt(executor, attempt.order)
        again.begin()
        assert (await again.result()).exit_code == 0
        assert bytes(again.output) == b"hello\n"
        await executor.forget(again.order)

    farm.play(play)


def test_a_command_is_ended_when_nothing_is_heard_of_its_taskman(farm: Farm) -> None:
    farm.settings["orphan_after_ns"] = 2_000_000_000
    one = order("trap '' TERM; echo $$; while :; do sleep 1; done")
    pids: list[int] = []

    async def play(executor: DaskExecutor) -> None:
        attempt = Attempt(executor, one)
        task = attempt.begin()
        await attempt.printed(b"\n")
        pids.append(int(attempt.output))
        await executor.close()
        with pytest.raises(ConnectionLost):
            await task

    async def look(executor: DaskExecutor) -> None:
        standing = await executor.probe(one)
        assert standing == Absent("nothing was heard of its taskman for 2 s: it was ended")
        await executor.forget(one)

    farm.play(play)
    wait_until(lambda: not is_alive(pids[0]), what="the end of the command")
    farm.play(look)


def test_as_long_as_its_taskman_is_there_a_silent_command_goes_on(farm: Farm) -> None:
    farm.settings["orphan_after_ns"] = 2_000_000_000
    assert farm.outcome(order("sleep 4; echo done"))[1] == b"done\n"


def test_a_resource_that_a_worker_declares_is_asked_of_it(farm: Farm) -> None:
    async def play(executor: DaskExecutor) -> None:
        orders = [order("echo up; sleep 0.3", resources={"gpu": 1, "db": 1}) for _ in range(4)]
        attempts = [Attempt(executor, one) for one in orders]
        for attempt in attempts:
            attempt.begin()
        await attempts[0].printed(b"up")
        await attempts[1].printed(b"up")
        [strong] = [one for one in executor._cluster.workers.values() if one.name == "strong"]
        assert executor._places.of(orders[0].handle) == strong.keeper
        assert [attempt.work.is_started for attempt in attempts] == [True, True, False, False]
        for attempt in attempts:
            assert (await attempt.result()).exit_code == 0
            await executor.forget(attempt.order)

    farm.play(play)


def test_what_is_found_again_draws_on_its_worker_as_before(farm: Farm) -> None:
    one = order("echo up; exec sleep 60", resources={"gpu": 2})

    async def play(later: DaskExecutor) -> None:
        earlier = farm.executor()
        attempt = Attempt(earlier, one)
        attempt.begin()
        await attempt.printed(b"up")
        await earlier.close()
        with pytest.raises(ConnectionLost):
            await attempt.result()
        assert isinstance(await later.probe(one), Running)
        again = Attempt(later, one)
        again.begin(is_attached=True)
        await again.started()
        assert later._places.best({"gpu": 1}) is None
        await again.signal(signal.SIGKILL)
        assert (await again.result()).signal == signal.SIGKILL
        await later.forget(one)

    farm.play(play)


def test_the_one_worker_that_has_it_is_waited_for_while_it_says_who_it_is(
    own_cluster: DaskCluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("plain")
    own_cluster.start_worker("strong", "--resources", "gpu=2")
    farm = Farm(own_cluster, tmp_path)

    async def play(executor: DaskExecutor) -> None:
        strong = own_cluster.workers["strong"]
        strong.send_signal(signal.SIGSTOP)
        try:
            attempt = Attempt(executor, order("echo up", resources={"gpu": 1}))
            attempt.begin()
            plain = lambda: any(one.keeper for one in executor._cluster.workers.values())  # noqa: E731
            await until(plain, what="the other has said who it is")
        finally:
            strong.send_signal(signal.SIGCONT)
        assert (await attempt.result()).exit_code == 0
        await executor.forget(attempt.order)

    farm.play(play)


@pytest.mark.parametrize(
    ("needs", "words", "is_transient"),
    [({"gpu": 3}, "no worker has gpu = 3: the most is 2", False),
     ({"tpu": 1}, "no worker has tpu = 1: none that is there declares it", True)],
)  # fmt: skip
def test_what_no_worker_has_is_not_waited_for_at_dask(
    farm: Farm, needs: dict[str, int], words: str, is_transient: bool
) -> None:
    farm.settings["resources"] = ["tpu"]
    error = farm.refusal(order("true", resources=needs))
    assert (str(error), error.is_transient) == (words, is_transient)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"command": ("true",), "cwd": "/n\xf6/\udcff"}, "its directory /n\xf6/\\xff cannot be entered"),
        ({"command": ("/n\xf6/\udcff",)}, "cannot be started: no such file or directory: /n\xf6/\\xff"),
    ],
    ids=["directory", "program"],
)
def test_what_is_missing_there_is_told_whatever_its_name_is(
    farm: Farm, bad: dict[str, Any], words: str
) -> None:
    error = farm.refusal(order(**bad))
    assert not error.is_transient
    assert words in str(error)


def test_ten_megabytes_wait_for_whoever_fetches_them(farm: Farm, tmp_path: Path) -> None:
    """What is not fetched is held back at the command: the keeper does not grow."""
    done = tmp_path / "done"

    async def play(executor: DaskExecutor) -> None:
        one = order(f"head -c 10000000 /dev/zero; touch {done}")
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.started()
        keeper = executor._places.of(one.handle)
        assert keeper is not None
        result = await attempt.result()
        assert (result.exit_code, len(attempt.output)) == (0, 10_000_000)
        await executor.forget(one)

    farm.play(play)
    assert done.exists()


def test_strangers_are_refused_in_words(farm: Farm, tmp_path: Path) -> None:
    farm.settings["tls"] = make_certificates(tmp_path, name="stranger")
    error = farm.refusal(order("true"))
    assert "the Dask scheduler does not answer" in str(error)
    assert "certificate verify failed" in str(error)

    async def play(executor: DaskExecutor) -> None:
        assert isinstance(await executor.probe(order("true")), Unknown)
        [finding] = await executor.check()
        assert not finding.is_good

    farm.play(play)


def test_a_missing_certificate_is_told_by_its_name(farm: Farm) -> None:
    farm.settings["tls"] = farm.settings["tls"] | {"key": "/no/key.pem"}
    with pytest.raises(ValueError, match=r"tls: no such file or directory: .*/no/key.pem"):
        farm.executor()


def test_nobody_there_is_told_soon_and_waited_for(farm: Farm) -> None:
    farm.settings |= {"address": "tls://127.0.0.1:1", "connect_timeout_ns": 1_000_000_000}
    begin = time.monotonic()
    error = farm.refusal(order("true"))
    assert time.monotonic() - begin < 8
    assert error.is_transient
    assert "cannot be reached" in str(error)


def test_what_is_no_dask_scheduler_is_told(farm: Farm, own_cluster: DaskCluster) -> None:
    own_cluster.start_worker("w")
    with suppress(IndexError):
        log = (own_cluster.directory / "w.log").read_text()
        farm.settings = own_cluster.settings | {
            "address": log.partition("Listening to:")[2].split()[0].replace("tls", "tcp")
        }
    error = farm.refusal(order("true"))
    assert "is not a Dask scheduler" in str(error)


def test_the_doctor_sees_the_cluster(farm: Farm) -> None:
    async def play(executor: DaskExecutor) -> None:
        findings = await executor.check()
        assert [finding.is_good for finding in findings] == [True, True]
        assert findings[1].words == "2 of 2 workers can be used, with 4 threads, gpu up to 2"

    farm.play(play)


def test_the_doctor_hears_in_time_who_is_silent(own_cluster: DaskCluster, tmp_path: Path) -> None:
    def found() -> list[tuple[bool, str]]:
        definition = ExecutorDefinition("farm", "dask", settings=own_cluster.settings)
        said = asyncio.run(look(definition, Surroundings(directory=tmp_path), 4.0))
        return [(is_good, words) for is_good, words, _ in said]

    own_cluster.start_worker("good")
    own_cluster.start_worker("stopped")
    own_cluster.workers["stopped"].send_signal(signal.SIGSTOP)
    silent, good = found()[1:]
    assert not silent[0]
    assert silent[1].startswith("worker stopped: ")
    assert good == (True, "1 of 2 workers can be used, with 2 threads")
    own_cluster.kill_scheduler()

    def refused() -> bool:
        [(is_good, words)] = found()
        assert not is_good
        return "cannot be reached: Connection refused" in words

    wait_until(refused)  # on a busy machine, the time may be over before the package says so


def test_who_takes_no_connection_is_told(farm: Farm) -> None:
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # with these, it is full
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        farm.settings = {"address": address, "insecure": True, "connect_timeout_ns": 1_000_000_000}
        words = str(farm.refusal(order("true")))
    assert words == f"the Dask scheduler does not answer: {address} cannot be reached within 1 s"


def test_a_killed_worker_s_command_goes_on_and_its_end_is_told_by_another(
    own_cluster: DaskCluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("one")
    farm = Farm(own_cluster, tmp_path)
    marks = tmp_path / "marks"

    async def play(executor: DaskExecutor) -> None:
        one = order(_until_told(tmp_path))
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.printed(b"up")
        own_cluster.kill_worker("one")
        with pytest.raises(ConnectionLost):
            await attempt.result()
        await until(lambda: True)
        assert await _settled(executor, one, Unknown) == Unknown("the worker that it runs on is gone")
        await asyncio.to_thread(own_cluster.start_worker, "two")
        assert isinstance(await _settled(executor, one, Running), Running)
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        await again.started()
        (tmp_path / "go").touch()
        assert (await again.result()).exit_code == 6
        assert bytes(attempt.output + again.output) == b"up\nover\n"
        await executor.forget(one)

    farm.play(play)
    assert marks.read_text() == "x\n"


def test_a_killed_scheduler_takes_nothing_with_it(own_cluster: DaskCluster, tmp_path: Path) -> None:
    own_cluster.start_worker("one")
    farm = Farm(own_cluster, tmp_path)
    marks = tmp_path / "marks"

    async def play(executor: DaskExecutor) -> None:
        told: list[Any] = []
        executor.listener = lambda *said: told.append(said)
        one = order(_until_told(tmp_path))
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.printed(b"up")
        own_cluster.kill_scheduler()
        # The worker ends by itself.
        await asyncio.to_thread(own_cluster.workers.pop("one").wait, 60)
        with pytest.raises(ConnectionLost):
            await attempt.result()
        waiting = Attempt(executor, order("true"))
        waiting.begin()
        with pytest.raises(StartFailed) as caught:
            await waiting.result()
        assert caught.value.is_transient
        assert str(caught.value).startswith("the Dask scheduler does not answer: ")
        assert told[-1] == ("down", str(caught.value), None)
        await asyncio.to_thread(own_cluster.start_scheduler)
        # Nobody asks, and it is told all the same.
        await until(lambda: told[-1][:2] == ("down", f"no worker is at {own_cluster.address}"))
        await asyncio.to_thread(own_cluster.start_worker, "two")
        await until(lambda: told[-1][0] == "up")
        assert [(one.name, one.slots) for one in told[-1][2]] == [("two", 2)]
        assert isinstance(await _settled(executor, one, Running), Running)
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        (tmp_path / "go").touch()
        assert (await again.result()).exit_code == 6
        assert bytes(attempt.output + again.output) == b"up\nover\n"
        await executor.forget(one)

    farm.play(play)
    assert marks.read_text() == "x\n"


def test_a_killed_keeper_s_attempts_are_never_taken_for_begun_elsewhere(
    own_cluster: DaskCluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("one")
    farm = Farm(own_cluster, tmp_path)

    async def play(executor: DaskExecutor) -> None:
        one = order("echo $$; exec sleep 600")
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.printed(b"\n")
        for pid in own_cluster.keepers():
            os.kill(pid, signal.SIGKILL)
        os.kill(int(attempt.output), signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            await attempt.result()
        assert isinstance(await executor.probe(one), Unknown)
        # The worker has another keeper for what comes.
        after = Attempt(executor, order("echo hello"))
        after.begin()
        assert (await after.result()).exit_code == 0
        await executor.forget(after.order)

    farm.play(play)


def test_a_keeper_ends_with_its_worker_when_nothing_runs(own_cluster: DaskCluster, tmp_path: Path) -> None:
    own_cluster.start_worker("one")
    farm = Farm(own_cluster, tmp_path)
    assert farm.outcome(order("true"))[0].exit_code == 0
    assert len(own_cluster.keepers()) == 1
    own_cluster.kill_worker("one")
    wait_until(lambda: not own_cluster.keepers(), what="the end of the keeper")
    assert list((own_cluster.directory / "tmp").glob("taskman-keepers-*/*")) == []


def test_a_stopped_keeper_ends_its_commands(own_cluster: DaskCluster, tmp_path: Path) -> None:
    own_cluster.start_worker("one")
    farm = Farm(own_cluster, tmp_path)

    async def play(executor: DaskExecutor) -> None:
        attempt = Attempt(executor, order("echo $$; exec sleep 600"))
        attempt.begin()
        await attempt.printed(b"\n")
        for pid in own_cluster.keepers():
            os.kill(pid, signal.SIGTERM)
        await until(lambda: not is_alive(int(attempt.output)))
        with pytest.raises(ConnectionLost):
            await attempt.result()

    farm.play(play)


def test_workers_without_taskman_or_with_another_are_told_and_not_used(
    own_cluster: DaskCluster, tmp_path: Path
) -> None:
    broken = tmp_path / "broken" / "taskman_cli"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('no taskman_cli here')")
    own_cluster.start_worker("without", PYTHONPATH=str(broken.parent))
    farm = Farm(own_cluster, tmp_path)
    error = farm.refusal(order("true"))
    assert not error.is_transient
    assert "worker without: taskman cannot be imported there" in str(error)
    (tmp_path / "older.py").write_text(
        "from taskman_cli.executors import daskfar\ndaskfar.FAR_VERSION = 0\ndef dask_setup(worker): pass\n"
    )
    own_cluster.kill_worker("without")
    own_cluster.start_worker("older", "--preload", str(tmp_path / "older.py"))
    error = farm.refusal(order("true"))
    assert not error.is_transient
    assert "worker older: it has taskman" in str(error)
    assert "install that there, and start the worker again" in str(error)
    own_cluster.start_worker("good")
    assert farm.outcome(order("echo hello"))[1] == b"hello\n"


def test_nothing_that_a_peer_has_pickled_is_read() -> None:
    from distributed.protocol.core import dumps, loads
    from distributed.protocol.serialize import ToPickle

    frames = dumps({"status": "OK", "result": ToPickle(Path("/"))})
    make(ExecutorDefinition("x", "dask", settings={"address": "tcp://127.0.0.1:1"}), Surroundings())
    with pytest.raises(ValueError, match="is not read"):
        loads(frames, deserialize=False)


def _until_told(directory: Path) -> str:
    """Return a command that leaves a mark, and ends once there is a file `go`."""
    return f"cd {directory}; echo x >>marks; echo up; until [ -e go ]; do sleep 0.05; done; echo over; exit 6"


async def _settled(executor: DaskExecutor, one: Order, kind: type) -> Any:
    """Ask how an attempt stands until that is of a kind."""
    deadline = time.monotonic() + 30
    while not isinstance(standing := await executor.probe(one), kind):
        assert time.monotonic() < deadline, standing
    return standing
