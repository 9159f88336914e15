"""What gtftctl may order of the corpus over the control socket, and how far an order has come."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gtftd.schemas.corpus import Task
from gtftd.schemas.protocol import Answer, Name, Strict

FilePath = Annotated[str, Field(min_length=1, max_length=4096)]


class CollectParams(Strict):
    """Sessions to collect again: one, those of a bead, or all that are known."""

    session_id: Name | None = None
    bead: Name | None = None
    all: bool = False


class ArtifactsParams(Strict):
    """Documents of the town, or those in a folder; `rig` says whose the files of a folder outside the town are."""

    folder: FilePath | None = None
    rig: Name | None = None


class OperationalParams(Strict):
    """The town's databases (those named, or all), or an export of them in a folder, of the rig that is named."""

    export: FilePath | None = None
    rig: Name | None = None
    databases: Annotated[tuple[Name, ...], Field(max_length=500, strict=False)] = ()


class PrimeParams(Strict):
    """Roles to ask gt's prime for; without one, every role."""

    roles: Annotated[tuple[Name, ...], Field(max_length=50, strict=False)] = ()


class AddParams(Strict):
    """Curated examples: absolute paths of files that the daemon can read."""

    paths: Annotated[tuple[FilePath, ...], Field(min_length=1, max_length=10_000, strict=False)]
    role: Name
    task: Task | None = None
    rig: Name | None = None


class CollectProgress(Answer):
    """How far a collection has come; the last one has `finished`. `total` is None while nobody knows."""

    phase: str
    done: int = 0
    total: int | None = None
    stored: int = 0
    unchanged: int = 0
    skipped: int = 0
    withdrawn: int = 0
    note: str = ""
    entries: tuple[str, ...] = ()
    """Of examples that were added: the ids of the first thousand, with the last step."""
    finished: bool = False


class AuditParams(Strict):
    """Scrub what older rules have scrubbed, or everything, with today's."""

    all: bool = False


class AuditProgress(Answer):
    """How far an audit has come. `hits`: entries that held what today's rules find, and were stored anew."""

    done: int = 0
    total: int = 0
    hits: int = 0
    tainted_snapshots: tuple[str, ...] = ()
    finished: bool = False


class PurgeParams(Strict):
    entry_id: Annotated[str, Field(min_length=4, max_length=128)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    by: Annotated[str, Field(min_length=1, max_length=200)]


class PurgeResult(Answer):
    entry_id: str
    tainted_snapshots: tuple[str, ...] = ()


class DoubtsParams(Strict):
    limit: Annotated[int, Field(ge=1, le=100_000)] = 100


class DoubtParams(Strict):
    """A doubt by the first letters of its digest."""

    digest: Annotated[str, Field(min_length=4, max_length=128)]


class VerdictParams(DoubtParams):
    by: Annotated[str, Field(min_length=1, max_length=200)]


class DoubtRow(Answer):
    """A value that was redacted although nobody is sure; `entries` counts those that it stands in."""

    digest: str
    placeholder: str
    kind: str
    rule: str
    entries: int
    entry_id: str
    """The newest of them."""
    raised_at: float


class DoubtsResult(Answer):
    doubts: tuple[DoubtRow, ...] = ()


class Looked(Answer):
    """A doubt with its value, as long as its source still exists: for the terminal of who asked."""

    doubt: DoubtRow
    kind: str = "session"
    """Of the newest entry that it stands in: whether its source is a transcript or a document."""
    origin: str = ""
    value: str | None = None
    context: str = ""
    """The line that it stands in, scrubbed."""
