"""Starting one command as its task says: directory, environment, descriptors, session, niceness.

posix_spawn stops this thread until the child execs, but its cost does not grow with the parent. What it
cannot set (directory, umask, niceness), this process sets on itself for the moment of the spawn; it has one
thread, so that affects nothing else. Commands of another user, and programs that may be slow to start, are
forked: asuser.py.
"""

from __future__ import annotations

import _thread
import errno
import os
import signal

from taskman_cli.supervisor.asuser import (
    give_up_rights,
    has_too_many_processes,
    reset_signals,
    start_apart,
)
from taskman_cli.supervisor.direct import Prepared, are_files_prompt, enter, file_actions
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.environments import Environment, SharedEnvironments
from taskman_cli.supervisor.numbers import DEFAULT_SIGNALS, TRANSIENT
from taskman_cli.supervisor.output import Capture
from taskman_cli.supervisor.program import StartError, first_possible, run_direct
from taskman_cli.supervisor.streams import hand_over, memory_file, open_descriptors, output_file, pipe
from taskman_cli.supervisor.trusted import TrustedPaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from taskman_cli.supervisor.program import Actions


#: For posix_spawn, which makes a system call for each signal that is not named: naming all is cheaper.
_ALL_SIGNALS = tuple(map(int, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))

_DUP2 = os.POSIX_SPAWN_DUP2

_REASONS = {
    errno.ENOENT: "no such directory",
    errno.ENOTDIR: "not a directory",
    errno.EACCES: "permission denied",
}


class Spawner:
    """Starts commands; holds the descriptors that this takes."""

    def __init__(self) -> None:
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # O_PATH: the directory need not be readable, nor exist any more.
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._is_home = True
        try:
            home = os.getcwd()  # noqa: PTH109 - pathlib is 3 MB
        except FileNotFoundError:  # nothing is found in a directory that does not exist
            home = "/"
        self._trusted = TrustedPaths(home)
        self._descriptors = open_descriptors()
        self.environments = SharedEnvironments()

    def start(
        self, spec: Mapping[str, Any], *, now_ns: int, limit: Callable[[], str] | None = None
    ) -> tuple[int, Capture | None, int | None]:
        """Start what `spec` describes (its keys: wire.py); `limit` is called in its process (limiting.py).

        Return its pid, its captured output, if any, and for a process that has yet to become the command the
        descriptor that `hear_from_child` reads. Raises StartError, and whatever a malformed `spec` makes
        Python raise.
        """
        held: list[int] = []
        capture = None
        try:
            stdin = self._null
            if spec["stdin"] is not None:
                stdin = memory_file(spec["stdin"])
                held.append(stdin)
            environment = self.environments.find(spec["env"])
            if environment is None:
                raise StartError(0, "cannot be started: its environment has not arrived")
            file = output_file(spec)
            if file is not None:
                fd, sink = pipe(self._descriptors)
                held.append(sink)
                capture = Capture(fd, file)
            else:
                sink = self._null
            actions: Actions = ((_DUP2, stdin, 0),)
            if file is not None or spec["output"] == "discard":
                actions = (_DUP2, stdin, 0), (_DUP2, sink, 1), (_DUP2, sink, 2)
            if limit is None and self._is_start_prompt(spec, environment, now_ns=now_ns):
                return self._in_place(spec, environment, actions), capture, None
            if capture is not None and spec["user"] is not None:
                hand_over(sink, spec["user"][0])
            pid, told = self._apart(spec, environment, actions, limit)
            return pid, capture, told
        except BaseException as error:
            if capture is not None:
                os.close(capture.fd)
            if isinstance(error, OSError):
                raise StartError(error.errno or 0, f"cannot be started: {error.strerror}") from error
            raise
        finally:
            for fd in held:
                os.close(fd)

    def _is_start_prompt(self, spec: Mapping[str, Any], environment: Environment, *, now_ns: int) -> bool:
        """Tell if a spawn, for which this process waits, cannot be delayed by another user."""
        if spec["user"] is not None or spec.get("env_files"):
            return False
        if not self._trusted.is_start_prompt(spec, environment.search_path, now_ns=now_ns):
            return False
        return spec.get("direct") is None or are_files_prompt(spec, self._trusted)

    def _in_place(self, spec: Mapping[str, Any], environment: Environment, actions: Actions) -> int:
        """Spawn in the task's directory and with its umask, and come back."""
        cwd, umask = spec["cwd"], spec["umask"]
        if cwd is umask is None and not spec["nice"] and spec.get("direct") is None and self._is_home:
            return first_possible(spec, environment, actions, _spawn)
        old_umask = None
        try:
            self._enter(cwd)
            if umask is not None:
                old_umask = os.umask(umask)
            if spec["nice"]:
                return _as_nice(spec["nice"], lambda: self._spawn_here(spec, environment, actions))
            return self._spawn_here(spec, environment, actions)
        finally:
            if old_umask is not None:
                os.umask(old_umask)
            if not self._is_home:
                self._come_back()

    def _spawn_here(self, spec: Mapping[str, Any], environment: Environment, actions: Actions) -> int:
        if spec.get("direct") is not None:
            pid = self._spawn_direct(spec, environment, actions)
            if pid is not None:
                return pid
        return first_possible(spec, environment, actions, _spawn)

    def _spawn_direct(
        self, spec: Mapping[str, Any], environment: Environment, actions: Actions
    ) -> int | None:
        """Spawn the program without its shell; None if the shell has to say what is wrong."""
        direct = spec["direct"]
        held: list[int] = []
        try:
            if direct["cd"] is not None:
                self._is_home = False
                enter(direct["cd"])
            files = file_actions(direct["files"], held)
            return run_direct(spec, environment, (*actions, *files), _spawn)
        except (OSError, StartError) as error:
            if error.errno in TRANSIENT:
                raise
        finally:
            for fd in held:
                os.close(fd)
        self._enter(spec["cwd"])
        return None

    def _enter(self, cwd: str | None) -> None:
        """Go to a task's directory, from wherever this process is."""
        if not self._is_home and (cwd is None or not cwd.startswith("/")):
            self._go_home()
        if cwd is not None:
            _change_directory(cwd)
            self._is_home = False

    def _apart(
        self,
        spec: Mapping[str, Any],
        environment: Environment,
        actions: Actions,
        limit: Callable[[], str] | None,
    ) -> tuple[int, int]:
        """Start it in a fork, which enters the directory and finds the program by itself."""
        if not self._is_home:
            self._go_home()
        files = [(ours, number) for _, ours, number in actions]
        return start_apart(lambda: _become(spec, environment, limit), files)

    def _come_back(self) -> None:
        """Return to the start directory; if that fails, leave this one, and the next start may fail."""
        try:
            os.chdir("/")
            self._go_home()
        except (OSError, StartError):
            return

    def _go_home(self) -> None:
        try:
            os.fchdir(self._home)
        except OSError as error:
            number = error.errno or 0
            reason = _REASONS.get(number, error.strerror)
            raise StartError(number, f"{reason}: the directory that taskman was started in") from error
        self._is_home = True


def _spawn(
    path: str, argv: list[str], environment: Environment, told: Mapping[str, str], actions: Actions
) -> int:
    return os.posix_spawn(
        path,
        argv,
        environment.for_spawn(told),
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=_ALL_SIGNALS,
    )


def _become(spec: Mapping[str, Any], environment: Environment, limit: Callable[[], str] | None) -> NoReturn:
    """Turn this process, a fork, into the command; raises StartError."""
    words = "" if limit is None else limit()
    if spec["umask"] is not None:
        os.umask(spec["umask"])
    if spec["nice"]:
        _set_nice(spec["nice"])
    if spec["user"] is not None:
        _change_user(*spec["user"])
        if words and has_too_many_processes():
            raise StartError(0, words)
    if spec.get("env_files"):
        environment = _with_files(spec, environment)
    if spec["cwd"] is not None:
        _change_directory(spec["cwd"])
    reset_signals(DEFAULT_SIGNALS)
    if spec.get("direct"):
        _become_direct(spec, environment)
    first_possible(spec, environment, (), _exec)
    raise AssertionError("a command that began came back")


def _become_direct(spec: Mapping[str, Any], environment: Environment) -> None:
    """Turn this process into the program without its shell; return if the shell has to say what is wrong."""
    if has_too_many_processes():  # found out before a file is emptied
        raise StartError(errno.EAGAIN, f"cannot be started: {os.strerror(errno.EAGAIN)}")
    prepared = Prepared()
    try:
        prepared.enter(spec["direct"])
    except OSError:
        prepared.undo()
        return
    try:
        run_direct(spec, environment, (), _exec)
    except StartError as error:
        if error.is_transient:
            raise
        prepared.undo()


def _with_files(spec: Mapping[str, Any], environment: Environment) -> Environment:
    """Return the environment with the variables of the files, read as the user that the command runs as."""
    variables = dict(environment.variables)
    try:
        for path in spec["env_files"]:
            with EnvFile(path) as file:
                if spec["user"] is None and os.geteuid() == 0:
                    file.check_owner()
                variables.update(file.values())
    except EnvFileError as error:
        raise StartError(0, str(error)) from None
    variables.update(spec["env_over"])
    return Environment(variables)


def _change_user(uid: int, gid: int, groups: list[int]) -> None:
    try:
        give_up_rights(uid, gid, groups)
    except OSError as error:
        number = error.errno or 0
        if number in TRANSIENT:
            raise StartError(number, f"cannot become user {uid}: {error.strerror}") from error
        raise StartError(number, f"permission denied: to become user {uid} with group {gid}") from error


def _exec(
    path: str, argv: list[str], environment: Environment, told: Mapping[str, str], _: Actions
) -> NoReturn:
    os.execve(path, argv, environment.with_told(told))  # noqa: S606 - no shell is wanted


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        number = error.errno or 0
        raise StartError(number, f"{_REASONS.get(number, error.strerror)}: {path} (cwd)") from error


def _as_nice(nice: int, spawn: Callable[[], int]) -> int:
    """Spawn from a thread of that niceness: on Linux it is the thread's own, and the child inherits it."""
    outcome: list[int | BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def body() -> None:
        try:
            _set_nice(nice)
            outcome.append(spawn())
        except BaseException as error:  # passed to the caller, whose thread it would not reach
            outcome.append(error)
        finally:
            done.release()

    try:
        _thread.start_new_thread(body, ())
    except RuntimeError as error:
        raise StartError(errno.EAGAIN, "cannot start a thread") from error
    done.acquire()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _set_nice(nice: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        raise StartError(error.errno or 0, f"permission denied: nice {nice}") from error
