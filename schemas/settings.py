"""Every key of the configuration; `config.example.toml` explains them to operators."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

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
    documents: bool = True
    documents_every_s: Seconds = 86_400

    def allows(self, rig: str | None) -> bool:
        """Whether what belongs to this rig may be collected; the town's own may."""
        return rig is None or (rig not in self.skip_rigs and (not self.rigs or rig in self.rigs))


class SharingSettings(Section):
    """Which rigs let the other rigs of the town learn from their work."""

    rigs: tuple[str, ...] = ()


class SnapshotSettings(Section):
    """What a snapshot takes in, at which weight, and when it is ready to be trained on."""

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    stale_weight: float = Field(default=0.25, ge=0, le=1)
    conduct_weight: float = Field(default=0.5, ge=0, le=1)
    own_model_weight: float = Field(default=0.5, ge=0, le=1)
    half_life_days: float = Field(default=90, gt=0)
    least_recency: float = Field(default=0.25, ge=0, le=1)
    near_duplicate: float = Field(default=0.8, gt=0.5, le=1)
    test_fraction: float = Field(default=0.1, ge=0, le=0.5)
    dev_fraction: float = Field(default=0.05, ge=0, le=0.5)
    hub_beads: int = Field(default=8, ge=2)
    eval_items: tuple[Path, ...] = ()
    min_supervised_tokens: int = Field(default=100_000, ge=1)
    min_role_entries: int = Field(default=20, ge=1)
    source_cap: float = Field(default=0.1, gt=0, le=1)
    new_source_cap: float = Field(default=0.03, gt=0, le=1)
    new_source_days: float = Field(default=7, ge=0)
    own_model_cap: float = Field(default=0.3, ge=0, le=1)
    own_agents: tuple[str, ...] = ("node0-*", "gtftd-*", "gtft-*")
    pairs_per_entry: int = Field(default=3, ge=1)
    window_tokens: int = Field(default=8192, ge=256)
    workers: int = Field(default=0, ge=0, le=64)


class LabelSettings(Section):
    """How evidence is weighed when the outcome of work is judged."""

    revert_days: float = Field(default=14, gt=0, le=3650)
    mass_close_beads: int = Field(default=5, ge=2)
    mass_close_s: Seconds = 60


class CommitSettings(Section):
    """The reader of the main branches of the rigs' repositories."""

    enabled: bool = True
    poll_s: Seconds = 60
    timeout_s: Seconds = 20
    look_back_days: float = Field(default=30, gt=0, le=3650)
    max_commits: int = Field(default=5000, ge=10, le=1_000_000)


class RagSettings(Section):
    """The index of what the town says now."""

    enabled: bool = True
    model: str = "minilm"
    compare_s: Seconds = 900


class PrimeSettings(Section):
    """The short prime of agents whose model learned the rest (`gtftctl prime`); whose they are says `snapshots`."""

    roles: tuple[str, ...] = ()
    target_tokens: int = Field(default=1500, ge=200, le=3000)
    most_tokens: int = Field(default=3000, ge=300, le=3000)
    timeout_s: float = Field(default=0.2, gt=0, le=2)
    tokenizer: Path | None = None
    trained_at: dict[str, datetime] = Field(default_factory=dict)

    @field_validator("trained_at")
    @classmethod
    def _in_utc(cls, value: dict[str, datetime]) -> dict[str, datetime]:
        """A moment without a zone is UTC."""
        return {role: at if at.tzinfo else at.replace(tzinfo=UTC) for role, at in value.items()}


class ProjectionSettings(Section):
    """The mirror of the records in the town's Dolt; what is not set is as in [beads]."""

    enabled: bool = True
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)
    user: str | None = None
    password: SecretStr | None = None
    database: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_$-]{1,64}$")
    gather_s: Seconds = 5
    poll_s: Seconds = 30
    timeout_s: Seconds = 30
    backoff_most_s: Seconds = 300
    batch_rows: int = Field(default=500, ge=1, le=5000)
    keep_rows: int = Field(default=100_000, ge=1000)


class ReactionSettings(Section):
    """How the daemon reacts: the share of the machine that reactions may take."""

    fetch_wait_s: Seconds = 5
    drain_s: Seconds = 30


class RegistrySettings(Section):
    """The models and whom they are believed from."""

    trusted_keys: tuple[str, ...] = ()

    @field_validator("trusted_keys")
    @classmethod
    def _is_hex(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """ed25519 public keys, 32 bytes in hex."""
        for key in value:
            if len(key) != 64 or set(key) - set("0123456789abcdef"):
                raise ValueError(f"{key!r} is no ed25519 public key: 64 hex digits, as `gtftctl model key` prints them")
        return value


class TrainingSettings(Section):
    """Training runs: what they begin from, and the share of the machine that they may take."""

    base: str = "smollm2-135m-instruct"
    settings_dir: Path | None = None
    python: Path | None = None
    llama_cpp_dir: Path | None = None
    slots: int = Field(default=1, ge=1, le=16)
    silent_s: Seconds = 600
    stop_s: Seconds = 120
    restart_s: Seconds = 2
    most_starts: int = Field(default=5, ge=1, le=100)
    nice: int = Field(default=10, ge=0, le=19)
    memory_bytes: int | None = Field(default=None, ge=2**20)
    threads: int | None = Field(default=None, ge=1, le=256)
    keep_runs: int = Field(default=5, ge=0, le=10_000)
    on_request: bool = True
    requests_waiting: int = Field(default=2, ge=1, le=100)
    requests_a_day: int = Field(default=8, ge=1, le=1000)


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
    sharing: SharingSettings = SharingSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    labels: LabelSettings = LabelSettings()
    commits: CommitSettings = CommitSettings()
    rag: RagSettings = RagSettings()
    prime: PrimeSettings = PrimeSettings()
    projection: ProjectionSettings = ProjectionSettings()
    registry: RegistrySettings = RegistrySettings()
    reactions: ReactionSettings = ReactionSettings()
    training: TrainingSettings = TrainingSettings()
    metrics: MetricsSettings = MetricsSettings()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()
