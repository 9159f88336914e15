"""The control socket: answers gtftctl, to this user and root alone."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import inspect
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from gtftd.control import wire
from gtftd.control.wire import Internal
from gtftd.errors import Busy, Conflict, GtftdError, Invalid, Missing, Refused, Unreachable
from gtftd.logs import get_logger
from gtftd.schemas.protocol import MAX_REQUEST_BYTES, PROTOCOL, Request

log = get_logger("control")
Params = TypeVar("Params", bound=BaseModel)
Result = Awaitable[BaseModel] | AsyncIterator[BaseModel]


@dataclass(frozen=True)
class Limits:
    """What one caller may cost."""

    connections: int = 64
    idle_s: float = 60.0
    read_s: float = 10.0
    write_s: float = 10.0
    request_bytes: int = MAX_REQUEST_BYTES


@dataclass(frozen=True)
class _Verb:
    params: type[BaseModel]
    handler: Callable[[Any], Result]
    timeout_s: float


class ControlServer:
    """Serves verbs on a unix socket (0600 in a 0700 folder). One lives for each path: a lock file says so."""

    def __init__(self, path: Path, *, allow_uids: Collection[int] = (), limits: Limits | None = None) -> None:
        self.path = path
        self._allowed = {os.geteuid(), 0, *allow_uids}
        self._limits = limits or Limits()
        self._verbs: dict[str, _Verb] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closing = False
        self._lock: int | None = None
        self._inode = 0

    def verb(
        self, name: str, params: type[Params], handler: Callable[[Params], Result], *, timeout_s: float = 30.0
    ) -> None:
        """Register; the handler answers one model, or an async iterator of models: a stream, without timeout."""
        if name in self._verbs:
            raise Conflict(f"the verb {name} is registered twice")
        self._verbs[name] = _Verb(params, handler, timeout_s)

    async def start(self) -> None:
        """Listen. Replaces the socket of a dead daemon; Conflict when a live one holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.parent.chmod(0o700)
        self._closing = False
        self._lock = _take_lock(self.path.with_suffix(".lock"))
        try:
            listener = _bind(self.path)
            self._inode = self.path.stat().st_ino
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=self._limits.request_bytes
            )
        except BaseException:
            self._release()
            raise

    async def close(self) -> None:
        """Stop listening, end every connection, remove the socket. A second call is harmless."""
        self._closing = True
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
        self._release()

    def _release(self) -> None:
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        os.close(self._lock)
        self._lock = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with _Peer(reader, writer, self._limits) as peer:
                self._admit(peer)
                while (line := await peer.receive()) is not None and await self._answer(peer, line):
                    pass
        except GtftdError as error:
            log.debug("connection.ended", reason=str(error))
        except (TimeoutError, OSError) as error:
            log.debug("connection.ended", reason=repr(error))
        except asyncio.CancelledError:
            if not self._closing:
                raise  # asyncio's streams of Python 3.11 log a cancelled callback as an error
        finally:
            self._connections.discard(task)

    def _admit(self, peer: _Peer) -> None:
        if peer.uid not in self._allowed:
            log.warning("connection.refused", uid=peer.uid)
            raise Refused(f"uid {peer.uid} may not control this gtftd, which runs as uid {os.geteuid()}")
        if len(self._connections) > self._limits.connections:
            raise Busy(f"{self._limits.connections} connections are open already; close some")

    async def _answer(self, peer: _Peer, line: bytes) -> bool:
        """Answer one frame; True when another may follow. A failing verb leaves the connection open.

        What cannot be read as a request ends it, and so does the end of a stream.
        """
        request = _parse(line)
        try:
            verb, params = self._resolve(request)
            result = verb.handler(params)
            if isinstance(result, AsyncIterator):
                await peer.stream(request.id, result)
                return False
            async with asyncio.timeout(verb.timeout_s):
                answer = await result
            frame = wire.success(request.id, answer.model_dump(mode="json", by_alias=True))
        except TimeoutError:
            frame = wire.failure(request.id, Unreachable(f"{request.verb} took longer than {verb.timeout_s:g} s"))
        except _GoneError:
            raise
        except GtftdError as error:
            frame = wire.failure(request.id, error)
        except Exception as error:  # a verb must not take the daemon with it
            log.exception("verb.failed", verb=request.verb)
            internal = Internal(f"{request.verb}: {type(error).__name__}; see `gtftctl logs --level error`")
            frame = wire.failure(request.id, internal)
        await peer.send(frame)
        return True

    def _resolve(self, request: Request) -> tuple[_Verb, BaseModel]:
        verb = self._verbs.get(request.verb)
        if verb is None:
            raise Missing(f"unknown verb {request.verb!r}; this daemon knows {', '.join(sorted(self._verbs))}")
        try:
            return verb, verb.params.model_validate(request.params)
        except ValidationError as error:
            raise Invalid(f"{request.verb}: {_first(error)}") from error


class _GoneError(Unreachable):
    """The caller hung up."""


class _Peer:
    """One caller. Leaving it sends the error that ended it, if any, and closes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self.uid = _peer_uid(writer.get_extra_info("socket"))

    async def __aenter__(self) -> _Peer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> Literal[False]:
        try:
            if isinstance(error, GtftdError) and not isinstance(error, _GoneError):
                with contextlib.suppress(OSError, TimeoutError, Unreachable):
                    await self.send(wire.failure(None, error))
        finally:
            self._writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._limits.write_s):
                    await self._writer.wait_closed()
        return False

    async def receive(self) -> bytes | None:
        """The next line; None at the end of the stream. Invalid for a line that is too long or broken off."""
        async with asyncio.timeout(self._limits.idle_s):
            first = await self._reader.read(1)
        if not first:
            return None
        try:
            async with asyncio.timeout(self._limits.read_s):
                return first + await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise Invalid(f"a request has at most {self._limits.request_bytes} bytes") from None
        except asyncio.IncompleteReadError:
            raise _GoneError("hung up in the middle of a line") from None
        except TimeoutError:
            raise Invalid(f"no whole line within {self._limits.read_s:g} s") from None

    async def send(self, frame: bytes) -> None:
        try:
            self._writer.write(frame)
            async with asyncio.timeout(self._limits.write_s):
                await self._writer.drain()
        except ConnectionError as error:
            raise _GoneError("hung up") from error
        except TimeoutError:
            self._writer.transport.abort()
            raise _GoneError(f"read nothing for {self._limits.write_s:g} s") from None

    async def stream(self, request_id: object, items: AsyncIterator[BaseModel]) -> None:
        """Send every item until the iterator ends or the caller says anything, hanging up included."""
        sending = asyncio.create_task(self._send_all(request_id, items))
        listening = asyncio.create_task(self._reader.read(1))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise _GoneError("ended the stream")
            await sending
        finally:
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
            if inspect.isasyncgen(items):
                await items.aclose()

    async def _send_all(self, request_id: object, items: AsyncIterator[BaseModel]) -> None:
        async for item in items:
            await self.send(wire.success(request_id, item.model_dump(mode="json", by_alias=True)))
        await self.send(wire.end(request_id))


def _parse(line: bytes) -> Request:
    frame = wire.decode(line)
    if frame.get("v") != PROTOCOL:
        raise Invalid(f"protocol version {frame.get('v')!r}; this daemon speaks version {PROTOCOL}")
    try:
        return Request.model_validate(frame)
    except ValidationError as error:
        raise Invalid(f"not a request: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """The first complaint, with the field that it is about."""
    complaint = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in complaint["loc"]) or "the whole"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{field}: {complaint['msg']}, not {str(complaint['input'])[:80]!r}{more}"


def _peer_uid(connection: socket.socket) -> int:
    """Who is on the other end, told by the kernel (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)


def _take_lock(path: Path) -> int:
    """A lock that the kernel frees when we die, however we die."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(f"a gtftd runs here already: {path} is locked; see `gtftctl status`") from None
    return descriptor


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`; whatever a dead daemon left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Invalid(f"cannot listen on {path}: {error}") from error
    return listener
