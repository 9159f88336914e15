"""Every key of the configuration; `config.example.toml` explains them to operators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """A table of the configuration; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BusSettings(Section):
    """The NATS bus. Without `url` the daemon runs its own nats-server as a child."""

    url: str | None = None
    prefix: str = Field(default="gtftd", pattern=r"^[A-Za-z0-9_-]+$")
    daemon_user: str = "daemon"
    daemon_password: SecretStr | None = None
    publisher_user: str = "publisher"
    publisher_password: SecretStr | None = None
    credentials_file: Path | None = None
    tls_ca_file: Path | None = None
    listen: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    server_binary: Path | None = None
    max_store_bytes: int = Field(default=2 * 1024**3, ge=64 * 1024**2)
    keep_days: float = Field(default=14, gt=0)
    replicas: int = Field(default=1, ge=1, le=5)


class SpoolSettings(Section):
    """The spool into which the hooks write."""

    rescan_s: Seconds = 5
    adopt_after_s: Seconds = 30
    keep_transcripts_days: float = Field(default=14, gt=0)


class FeedSettings(Section):
    """The tail of gt's `.events.jsonl`."""

    enabled: bool = True
    poll_s: Seconds = 2
    max_line_bytes: int = Field(default=1_000_000, ge=1024)


class BeadsSettings(Section):
    """The poller of the town's Dolt server."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65_535)
    user: str = "root"
    password: SecretStr = SecretStr("")
    databases: tuple[str, ...] | None = None
    poll_s: Seconds = 5
    overlap_s: Seconds = 120
    timeout_s: Seconds = 10
    backoff_most_s: Seconds = 120
    batch_rows: int = Field(default=2000, ge=10, le=100_000)


class WatchSettings(Section):
    """The watchers of CLAUDE.md, formulas, directives, overlays, roles and settings."""

    enabled: bool = True
    debounce_s: Seconds = 0.3
    half_written_s: Seconds = 5
    rescan_s: Seconds = 300


class SweepSettings(Section):
    """The search for what every other source missed."""

    enabled: bool = True
    every_s: Seconds = 300
    grace_s: Seconds = 120
    quiet_s: Seconds = 900
    look_back_days: float = Field(default=14, gt=0)


class CollectionSettings(Section):
    """What may be collected. Empty lists allow everything."""

    enabled: bool = True
    roles: tuple[str, ...] = ()
    rigs: tuple[str, ...] = ()
    skip_rigs: tuple[str, ...] = ()
    skip_paths: tuple[str, ...] = ()
    min_assistant_turns: int = Field(default=1, ge=1)
    settle_s: Seconds = 5
    max_line_bytes: int = Field(default=16 * 1024**2, ge=65_536)


class ReactionSettings(Section):
    """How the daemon reacts: the share of the machine that reactions may take."""

    fetch_wait_s: Seconds = 5
    drain_s: Seconds = 30


class MetricsSettings(Section):
    """Prometheus metrics; always on the control socket, over HTTP on loopback when a port is given."""

    port: int | None = Field(default=None, ge=1, le=65_535)
    listen: Literal["127.0.0.1", "::1"] = "127.0.0.1"


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class StateSettings(Section):
    """Local durable state."""

    keep_done_days: float = Field(default=30, gt=0)
    low_disk_bytes: int = Field(default=256 * 1024**2, ge=0)


class SettingsModel(BaseModel):
    """The whole configuration, already resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    town: Path | None = None
    state_dir: Path | None = None
    bus: BusSettings = BusSettings()
    spool: SpoolSettings = SpoolSettings()
    feed: FeedSettings = FeedSettings()
    beads: BeadsSettings = BeadsSettings()
    watch: WatchSettings = WatchSettings()
    sweep: SweepSettings = SweepSettings()
    collection: CollectionSettings = CollectionSettings()
    reactions: ReactionSettings = ReactionSettings()
    metrics: MetricsSettings = MetricsSettings()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()
