"""The door of the registry: one transaction a decision, with or without a daemon beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from gtftd.errors import Busy, Missing
from gtftd.registry.artifacts import ArtifactStore
from gtftd.registry.changes import Changes, Stored
from gtftd.registry.decisions import Who
from gtftd.registry.jobs import JobChanges
from gtftd.registry.reading import Reading
from gtftd.registry.rows import FIRST_VERSION, FOLDER
from gtftd.registry.signing import Keys
from gtftd.schemas.event import Event
from gtftd.schemas.registry import Candidate, Format, ModelEntry
from gtftd.state.crash import crash_point
from gtftd.state.database import check_version, migrate, open_reader, open_writer, translated
from gtftd.state.outbox import Encoder, insert_rows


class StoredArtifact(Protocol):
    """An artifact whose bytes were looked at."""

    @property
    def digest(self) -> str: ...
    @property
    def format(self) -> Format: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def signer(self) -> str: ...


class Artifacts(Protocol):
    """Where the bytes of models lie; see `ArtifactStore`."""

    def add(self, source: Path, about: dict[str, Any]) -> StoredArtifact: ...
    def open(self, digest: str) -> StoredArtifact: ...
    def verify(self, digest: str) -> tuple[str, ...]: ...
    def remove(self, digest: str) -> int: ...
    def tidy(self) -> None: ...


@dataclass(frozen=True)
class Pruned:
    """What a pruning took away."""

    models: tuple[str, ...]
    freed_bytes: int


class Registry:
    """Many may have one open on the same state: SQLite lets them take turns."""

    def __init__(
        self,
        state_dir: Path,
        artifacts: Artifacts,
        encoder: Encoder,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = state_dir / "state.db"
        self._folder = state_dir / FOLDER
        self._artifacts = artifacts
        self._encoder = encoder
        self._clock = clock

    @classmethod
    def open(cls, state_dir: Path, trusted_keys: Sequence[str], encoder: Encoder) -> Self:
        """With the artifacts and the key of this state directory; the key is made at first use."""
        keys = Keys.open(state_dir / "keys", trusted_keys)
        return cls(state_dir, ArtifactStore(state_dir / FOLDER, keys), encoder)

    @contextlib.contextmanager
    def change(self, by: str, why: str = "", *, dry_run: bool = False) -> Iterator[Changes]:
        """All of it is committed with its facts, or nothing is. Refused when the state is of a newer gtftd.

        `why` is somebody's words: it is scrubbed before it is written.
        """
        with self._transaction() as connection:
            changes = Changes(connection, self._folder, Who(by, self._encoder.clean(why), self._clock()))
            yield changes
            if dry_run:
                raise _Undone
            insert_rows(connection, self._encoder.rows(changes.facts))

    @contextlib.contextmanager
    def jobs(self) -> Iterator[JobChanges]:
        """Training jobs: the same promise."""
        with self._transaction() as connection:
            changes = JobChanges(connection, self._encoder.clean)
            yield changes
            insert_rows(connection, self._encoder.rows(changes.facts))

    def now(self) -> datetime:
        return self._clock()

    def cleaned(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Somebody's settings, scrubbed."""
        return {name: self._encoder.scrub(value) for name, value in settings.items()}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        migrate(self.database)
        with contextlib.closing(open_writer(self.database)) as connection, translated(self.database):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                crash_point("registry.before_commit")
                connection.execute("COMMIT")
                crash_point("registry.committed")
            except _Undone:
                pass
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def register(self, source: Path, candidate: Candidate, by: str, why: str = "") -> ModelEntry:
        """Store the artifact, its manifest saying what it was made of; then give it a version.

        Killed between the two the artifact lies there without a model; the same call again takes it up.
        """
        candidate = candidate.model_copy(update={"training_config": self.cleaned(candidate.training_config)})
        stored = self._artifacts.add(source, candidate.model_dump(mode="json", exclude_none=True))
        crash_point("registry.stored")
        with self.change(by, why) as changes:
            if not (self._folder / stored.digest).is_dir():
                raise Busy(f"the artifact {stored.digest[:12]} was pruned while it was registered; register it again")
            return changes.register(candidate, Stored(stored.digest, stored.format, stored.size_bytes, stored.signer))

    def deploy(self, name: str, rig: str, by: str, why: str, *, dry_run: bool = False) -> list[Event]:
        """The facts of it; none when it serves there already. Every byte is looked at first. The rig '' is the town."""
        model = self.model(name)
        if model.artifact_path is not None:
            self._artifacts.open(model.artifact)
        with self.change(by, why, dry_run=dry_run) as changes:
            changes.deploy(model.name, model.role, rig)
        return [fact.event for fact in changes.facts]

    def prune(self, role: str | None, keep: int, by: str, why: str, *, only: Collection[str] | None = None) -> Pruned:
        """Tombstones first, then the bytes: what a kill leaves of them, `tidy` takes away.

        `only`: no other models than these, whose pruning somebody has agreed to.
        """
        with self.change(by, why) as changes:
            models = [one for one in changes.reading.prunable(role, keep) if only is None or one.name in only]
            sizes = changes.prune(models)
        crash_point("registry.pruned")
        self._remove_bytes(sizes)
        pruned = tuple(model.name for model in models if model.artifact in sizes)
        return Pruned(pruned, sum(sizes.values()))

    def tidy(self) -> None:
        """Take away what a kill left: bytes of models that have a tombstone, and artifacts that were half stored."""
        self._artifacts.tidy()
        with self.reading() as reading:
            gone = reading.removed_artifacts()
        self._remove_bytes(digest for digest in gone if (self._folder / digest).exists())

    def _remove_bytes(self, digests: Iterable[str]) -> None:
        """Under the lock of a change, so that nobody registers what goes."""
        for digest in digests:
            with self.change("gtftd") as changes:
                if changes.reading.is_removed(digest):
                    self._artifacts.remove(digest)

    def verify(self, digest: str) -> tuple[str, ...]:
        """What is wrong with an artifact, every byte looked at."""
        return self._artifacts.verify(digest)

    def model(self, name: str) -> ModelEntry:
        with self.reading() as reading:
            return reading.model(name)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        """One state of everything."""
        with read_registry(self.database, self._folder) as reading:
            yield reading


class _Undone(Exception):  # not an error: a dry run ends so
    """Nothing of it is kept."""


@contextlib.contextmanager
def read_registry(database: Path, folder: Path) -> Iterator[Reading]:
    """Raises Missing where no gtftd has ever run, or one that knew no registry."""
    if not database.exists():
        raise Missing(f"there is no state in {database.parent}; has gtftd ever run here? give it with --state-dir DIR")
    with contextlib.closing(open_reader(database)) as connection, translated(database):
        if check_version(connection, database) < FIRST_VERSION:
            raise Missing(f"{database} was written before there was a registry; start gtftd once, or register a model")
        connection.execute("BEGIN")
        yield Reading(connection, folder)
