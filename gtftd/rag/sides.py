"""What the feed stands between: the store and the town's databases on one side, the index on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gtftd.schemas.corpus import Entry, EntryKind
from gtftd.schemas.rag import BeadCard, IndexDocument


class Row(Protocol):
    """What is known of an entry without its text."""

    @property
    def entry_id(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def kind(self) -> EntryKind: ...
    @property
    def origin(self) -> str: ...
    @property
    def stored_at(self) -> float:
        """In Unix seconds."""
        ...


class Entries(Protocol):
    """The store: only scrubbed text is in it."""

    async def select(
        self, where: str, values: tuple[object, ...], limit: int, *, order: str = ...
    ) -> Sequence[Row]: ...
    def read_whole(self, digest: str) -> Entry: ...


class Bead(Protocol):
    """A bead as it is now, its words scrubbed."""

    @property
    def database(self) -> str: ...
    @property
    def bead(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def card(self) -> BeadCard: ...
    @property
    def updated_at(self) -> datetime: ...


class Part(Protocol):
    @property
    def found(self) -> Sequence[Bead]: ...
    @property
    def gone(self) -> Sequence[str]: ...


class Beads(Protocol):
    """The town's databases."""

    async def databases(self) -> Mapping[str, str | None]:
        """Those that may be read, and whose they are: a rig, or None for the town."""
        ...

    async def of(self, database: str, beads: Sequence[str]) -> Part: ...
    def ids(self, database: str) -> AsyncIterator[list[str]]: ...


class Index(Protocol):
    """The process that owns the index. All raise Unreachable when it does not answer."""

    async def put(self, documents: Sequence[IndexDocument], *, forget: bool = False) -> None: ...
    async def remove(self, ids: Sequence[str], *, forget: bool = False) -> None: ...
    async def ids(self, prefix: str) -> frozenset[str]: ...
