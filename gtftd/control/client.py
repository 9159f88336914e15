"""The other end of the control socket, without asyncio: gtftctl starts fast."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from gtftd.control import wire
from gtftd.control.wire import JsonObject
from gtftd.errors import Invalid, NoDaemon, Refused, Unreachable

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class ControlClient:
    """Calls verbs. Each call is a connection of its own; a stream holds one until it ends or is closed."""

    def __init__(self, path: Path, *, whom: str = "", timeout_s: float = 60.0) -> None:
        self._path = path
        self._whom = f" for {whom}" if whom else ""
        self._timeout_s = timeout_s

    def call(self, verb: str, /, **params: object) -> JsonObject:
        """The verb's result. Raises the daemon's error as its own class, NoDaemon when nothing answers."""
        with _Connection(self._connect(self._timeout_s)) as connection:
            connection.ask(verb, params)
            frame = connection.read()
        if frame is None or "result" not in frame:
            raise Unreachable(f"the daemon hung up before it answered {verb}")
        result: JsonObject = frame["result"]
        return result

    def stream(self, verb: str, /, **params: object) -> Iterator[JsonObject]:
        """Every item until the daemon ends the stream; Unreachable when it dies in the middle."""
        with _Connection(self._connect(self._timeout_s)) as connection:
            connection.ask(verb, params)
            connection.wait_forever()
            while (frame := connection.read()) is not None:
                if frame.get("end"):
                    return
                yield frame.get("result", {})
        raise Unreachable(f"the daemon went away in the middle of {verb}")

    def _connect(self, timeout_s: float) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.settimeout(timeout_s)
        try:
            end.connect(str(self._path))
        except PermissionError as error:
            end.close()
            raise Refused(f"{self._path} belongs to another user; run gtftctl as the daemon's user") from error
        except OSError as error:
            end.close()
            raise NoDaemon(
                f"no gtftd runs{self._whom} (nothing answers on {self._path}); "
                "start it with `gtftctl run`, or as a service with `systemctl --user start gtftd`"
            ) from error
        return end


class _Connection:
    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._file: BinaryIO = end.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._end.close()

    def ask(self, verb: str, params: dict[str, object]) -> None:
        given = {name: value for name, value in params.items() if value is not None}
        try:
            self._end.sendall(wire.encode({"v": wire.PROTOCOL, "id": 1, "verb": verb, "params": given}))
        except OSError:
            return  # refused at the door: the reason can still be read

    def wait_forever(self) -> None:
        self._end.settimeout(None)

    def read(self) -> JsonObject | None:
        """The next frame; None when the daemon hung up. Raises what the daemon raised."""
        try:
            line = self._file.readline(MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise Unreachable("the daemon does not answer in time; is the machine overloaded?") from error
        except OSError:
            return None
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise Invalid(f"an answer has more than {MAX_ANSWER_BYTES} bytes, or broke off")
        frame = wire.decode(line)
        if frame.get("v") != wire.PROTOCOL:
            raise Invalid(f"the daemon speaks protocol {frame.get('v')!r}, this gtftctl {wire.PROTOCOL}")
        if not frame.get("ok"):
            raise wire.error_of(frame.get("error") or {})
        return frame
