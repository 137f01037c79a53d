"""Connections to the scheduler and the workers of a Dask cluster: a question at a time on each.

Dask's own client is not used: it would run what a peer has pickled. Here nothing is unpickled: questions and
answers are plain values, so that nobody on the cluster runs code as taskman's user.
"""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How long a connection may take, if the job file does not say.
CONNECT_TIMEOUT_NS = 4_000_000_000
#: The package tries again in this part of that time, and then says why it was refused.
_OF_IT = 0.9
#: So many idle connections to each address are kept.
_MOST_IDLE = 8
_SILENCE = "no answer in time"
PACKAGE = 'needs the package "distributed", which is not installed: pip install "taskman-scheduler[dask]"'


class Unreachable(Exception):
    """There was no connection: nothing was asked."""


class Broken(Exception):
    """A question was not answered: it may have been carried out."""


class Raised(Broken):
    """The other side says that it failed."""


def _refuse(*_: object, **__: object) -> Any:
    raise ValueError("the other side sent a pickled object, which is not read")


class Link:
    """All connections of one executor."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError, in words, if the package or a file of `tls` is missing."""
        try:
            import distributed.protocol.core
            from distributed.comm import connect
        except ImportError as error:
            raise ValueError(PACKAGE) from error
        # In this module, pickled parts of messages are read, whatever a connection is told.
        writing = distributed.protocol.core.pickle
        distributed.protocol.core.pickle = SimpleNamespace(dumps=writing.dumps, loads=_refuse)
        self._connect = connect
        self._timeout_s = float(settings.get("connect_timeout_ns", CONNECT_TIMEOUT_NS)) / 1e9
        self._arguments: dict[str, Any] = {}
        if settings.get("tls"):
            self._arguments = {
                "ssl_context": _context(settings["tls"]),
                "require_encryption": True,
                "extra_conn_args": {},
            }
        self._idle: dict[str, list[Any]] = {}
        self._is_closed = False

    def hurry(self, within_s: float) -> None:
        """Let connections take no longer than this."""
        self._timeout_s = min(self._timeout_s, within_s)

    async def call(self, address: str, operation: str, *, within_s: float, **values: Any) -> Any:
        """Ask a server to carry out an operation, and return its answer. Raises Unreachable, Broken."""
        comm = self._take_idle(address) or await self._open(address)
        try:
            async with asyncio.timeout(within_s):
                await comm.write({"op": operation, "reply": True, **values})
                answer = await comm.read()
        except TimeoutError:
            comm.abort()
            raise Broken(f"{address} did not answer within {within_s:g} s") from None
        except asyncio.CancelledError:
            comm.abort()
            raise
        except Exception as error:  # of the package, of all kinds
            comm.abort()
            raise Broken(f"{address}: {_words(error)}") from error
        self._keep(address, comm)
        if isinstance(answer, dict) and answer.get("status") == "uncaught-error":
            raise Raised(f"{address}: {printable(str(answer.get('exception_text')))}")
        return answer

    def _take_idle(self, address: str) -> Any:
        idle = self._idle.get(address, [])
        while idle:
            comm = idle.pop()
            if not comm.closed():
                return comm
        return None

    def _keep(self, address: str, comm: Any) -> None:
        idle = self._idle.setdefault(address, [])
        if self._is_closed or len(idle) >= _MOST_IDLE:
            comm.abort()
        else:
            idle.append(comm)

    async def _open(self, address: str) -> Any:
        if self._is_closed:
            raise Unreachable("closed")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connect(
                    address, timeout=_OF_IT * self._timeout_s, deserialize=False, **self._arguments
                )
        except TimeoutError:
            raise Unreachable(f"{address} cannot be reached within {self._timeout_s:g} s") from None
        except Exception as error:  # of the package, of all kinds
            words = _words(error)
            how = f" within {self._timeout_s:g} s" if words == _SILENCE else f": {words}"
            raise Unreachable(f"{address} cannot be reached{how}") from error

    def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        for idle in self._idle.values():
            for comm in idle:
                comm.abort()
        self._idle.clear()


def _context(tls: Mapping[str, str]) -> ssl.SSLContext:
    """Return how to speak TLS as Dask does: both ends have a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cafile=tls["ca"])
        context.load_cert_chain(tls["cert"], tls["key"], password=_no_password)
    except ssl.SSLError as error:
        raise ValueError(f"tls: {error.reason or error}: {', '.join(tls.values())}") from error
    except OSError as error:
        names = [error.filename] if error.filename else [*tls.values()]
        raise ValueError(f"tls: {(error.strerror or str(error)).lower()}: {', '.join(names)}") from error
    return context


def _no_password() -> str:
    raise ValueError("tls: the key is encrypted, and nobody is there to be asked for its password")


def _words(error: BaseException) -> str:
    """Return what was wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, TimeoutError | asyncio.CancelledError) and not str(error):
        return _SILENCE
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(words or type(error).__name__)
