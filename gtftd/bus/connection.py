"""The connection to NATS: made when it can be, kept, and told to the health board."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from gtftd.bus.embedded import Credentials, EmbeddedServer
from gtftd.errors import GtftdError
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.schemas.settings import BusSettings

log = get_logger("bus")
CONNECT_S = 5.0
FIRST_WAIT_S = 0.2
MOST_WAIT_S = 15.0
ORIGINS = ("town", "fact")
DUPLICATE_WINDOW_S = 600.0


class Bus:
    """One connection, to the configured server or to our own child. `ready` is set while it is usable."""

    def __init__(self, settings: BusSettings, embedded: EmbeddedServer | None, health: Health) -> None:
        self.settings = settings
        self.ready = asyncio.Event()
        self.generation = 0
        """Counts connections, so that consumers know when to ask again."""
        self.lost = asyncio.Event()
        """Set while there is no usable connection: what waits for an answer of the old one can stop."""
        self.lost.set()
        self.listeners: set[Callable[[], None]] = set()
        """Called when the bus becomes usable, and when it stops being so."""
        self._embedded = embedded
        self._health = health
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._url = settings.url or ""

    @property
    def url(self) -> str:
        return self._url

    @property
    def mode(self) -> str:
        return "embedded" if self._embedded else "external"

    @property
    def server_pid(self) -> int | None:
        return self._embedded.pid if self._embedded else None

    @property
    def client(self) -> Client:
        """Raises ConnectionClosedError while there is none: it may be lost at any await."""
        if self._client is None:
            raise nats.errors.ConnectionClosedError
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """Raises ConnectionClosedError while there is none."""
        if self._js is None:
            raise nats.errors.ConnectionClosedError
        return self._js

    def stream(self, origin: str) -> str:
        """The stream that holds the events of an origin (`town` or `fact`)."""
        return f"{self.settings.prefix}_{origin}".upper().replace("-", "_")

    async def run(self) -> None:
        """Keep a server and a connection for ever; heals by itself. Cancel to end."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._connect()
                wait_s = FIRST_WAIT_S
                await self._until_broken()
            except (OSError, nats.errors.Error, GtftdError, TimeoutError) as error:
                self._broken(f"{type(error).__name__}: {error}")
            await self._disconnect()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, MOST_WAIT_S)

    async def distrust(self, detail: str) -> None:
        """The server is there and takes nothing: after a full disk a stream refuses until the server is restarted.

        Ours is, once the disk has room; another's is its operator's.
        """
        self._health.degraded("nats", "nats.not_storing", detail)
        if self._embedded is not None and await self._embedded.has_room():
            log.warning("server.renewed", reason=detail)
            await self._embedded.stop()

    def trust(self) -> None:
        """It stores again."""
        if self.ready.is_set():
            self._health.ok("nats", self._url)

    async def close(self) -> None:
        """Flush and end; our own server last."""
        self.ready.clear()
        await self._disconnect()
        if self._embedded:
            await self._embedded.stop()

    async def _connect(self) -> None:
        credentials = await self._embedded.start() if self._embedded else self._configured()
        self._url = credentials.url
        async with asyncio.timeout(CONNECT_S):  # the client alone would try for ever, and tell nobody
            self._client = await self._client_of(credentials)
        self._js = self._client.jetstream(timeout=10)
        for origin in ORIGINS:
            await self._ensure_stream(origin)
        self._usable()

    async def _client_of(self, credentials: Credentials) -> Client:
        return await nats.connect(
            credentials.url,
            name="gtftd",
            user=credentials.daemon_user if credentials.daemon_password else None,
            password=credentials.daemon_password or None,
            user_credentials=str(path) if (path := self.settings.credentials_file) else None,
            tls=_tls(self.settings),
            connect_timeout=5,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            ping_interval=20,
            max_outstanding_pings=2,
            pending_size=32 * 1024 * 1024,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            error_cb=_on_error,
        )

    async def _until_broken(self) -> None:
        """Our own server may die; the client then reconnects to nothing. An external one is its problem."""
        assert self._client is not None
        if self._embedded is None:
            await asyncio.Event().wait()
            return
        status = await self._embedded.wait()
        self._broken(f"nats-server ended with status {status}; starting it again")

    async def _disconnect(self) -> None:
        client, self._client, self._js = self._client, None, None
        if client is not None and not client.is_closed:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await client.close()

    async def _ensure_stream(self, origin: str) -> None:
        """File storage, `discard new`: a full stream refuses, and what it refused stays in the outbox."""
        config = StreamConfig(
            name=self.stream(origin),
            subjects=[f"{self.settings.prefix}.{origin}.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=self.settings.keep_days * 86_400,
            max_bytes=self.settings.max_store_bytes // len(ORIGINS) - 8 * 1024**2,
            duplicate_window=DUPLICATE_WINDOW_S,
            num_replicas=self.settings.replicas,
        )
        try:
            known = (await self.js.stream_info(self.stream(origin))).config
        except NotFoundError:
            await self.js.add_stream(config)
            return
        if (known.max_age, known.max_bytes, known.subjects) != (
            config.max_age,
            config.max_bytes,
            config.subjects,
        ):
            try:
                await self.js.update_stream(config)
            except APIError as error:
                log.warning("stream.kept", stream=config.name, reason=str(error))

    def _configured(self) -> Credentials:
        settings = self.settings
        secret = settings.daemon_password
        return Credentials(
            settings.url or "",
            settings.daemon_user,
            secret.get_secret_value() if secret else "",
            settings.publisher_user,
            "",
        )

    def _usable(self) -> None:
        self.generation += 1
        self._health.ok("nats", self._url)
        self.lost.clear()
        self.ready.set()
        self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def _broken(self, detail: str) -> None:
        self.ready.clear()
        self.lost.set()
        self._tell()
        self._health.degraded("nats", "nats.unreachable", detail)

    async def _on_disconnect(self) -> None:
        if self._client is not None:
            self._broken(f"the connection to {self._url} is lost")

    async def _on_reconnect(self) -> None:
        """Not for a client that was given up: it may find the server that we started for the next one."""
        if self._client is not None and self._client.is_connected:
            self._usable()


async def _on_error(error: Exception) -> None:
    log.debug("client.failed", error=f"{type(error).__name__}: {error}")


def _tls(settings: BusSettings) -> ssl.SSLContext | None:
    if settings.tls_ca_file is None:
        return None
    return ssl.create_default_context(cafile=str(settings.tls_ca_file))
