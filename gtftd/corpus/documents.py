"""Every collector that is no session: files, beads, interactions, what `gt prime` prints, curated examples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from gtftd.corpus.artifacts import collect_artifacts, folder_scope, read_artifact
from gtftd.corpus.curated import AUDIENCE, Example, read_examples
from gtftd.corpus.databases import BeadDatabases
from gtftd.corpus.exports import Owner, collect_export
from gtftd.corpus.filing import COLLECTED, Document, Filing, Tally, added, document_id
from gtftd.corpus.in_force import ConventionHistory
from gtftd.corpus.interactions import collect_interactions
from gtftd.corpus.prime import collect_prime
from gtftd.corpus.stale import commands_named, retired
from gtftd.errors import Invalid, Missing, NotReady, Unreachable
from gtftd.schemas.corpus import Outcome, Task
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.settings import CollectionSettings, LabelSettings
from gtftd.schemas.town import BeadState, ConfigChanged, FormulaChanged
from gtftd.town.artifact_files import (
    FORMULAS,
    INSTRUCTIONS,
    ArtifactFile,
    folder_files,
    kind_of,
    rig_of_path,
    town_file,
    town_files,
)
from gtftd.town.bead_life import BEAD
from gtftd.town.beads_server import database_of_bead, rig_of_database
from gtftd.town.identity import ROLES
from gtftd.town.interactions import interactions_files
from gtftd.town.layout import Town

IN_TOWN = "file:"
OFF = "collection is switched off in the configuration"


class Documents:
    """Each method that yields is one collection: run it as often as you like, the second run stores nothing.

    All yield their progress, and end with one that has `finished`.
    """

    def __init__(
        self,
        town: Callable[[], Town],
        filing: Filing,
        history: ConventionHistory,
        settings: CollectionSettings,
        labels: LabelSettings,
        databases: BeadDatabases | None = None,
    ) -> None:
        """Without `databases` the town has no beads server that we may read."""
        self._town = town
        self._filing = filing
        self._history = history
        self._settings = settings
        self._labels = labels
        self._databases = databases

    async def artifacts(self, folder: Path | None = None, *, rig: str | None = None) -> AsyncIterator[CollectProgress]:
        """What tells agents how to behave, and specs, plans and docs: of the town, or of any folder.

        `rig` says whose the files of a folder outside of the town are. Raises Missing for what is no folder.
        """
        if self._is_off:
            yield Tally("artifacts").progress(OFF, finished=True)
            return
        town = await asyncio.to_thread(self._town)
        if folder is None:
            await self._history.record_present()
            files = await asyncio.to_thread(lambda: list(town_files(town)))
            collecting = collect_artifacts(self._filing, self._chosen(files), town.root, IN_TOWN)
        else:
            collecting = await self._of_folder(town, folder, rig)
        async for progress in collecting:
            yield progress

    async def operational(
        self, export: Path | None = None, databases: Sequence[str] | None = None, *, rig: str | None = None
    ) -> AsyncIterator[CollectProgress]:
        """The life of every bead: out of the town's databases, or out of an export.

        Beads of an export belong to the one database that is named, else to the one that has their prefix, else
        to their prefix. Raises Missing or Invalid for what is no export.
        """
        if self._is_off:
            yield Tally("operational").progress(OFF, finished=True)
        elif export is not None:
            town = await asyncio.to_thread(self._town)
            owner = self._owner(town, databases, rig)
            async for progress in collect_export(self._filing, export, owner, self._labels):
                yield progress
        else:
            async for progress in self._of_databases(databases):
                yield progress

    async def interactions(self) -> AsyncIterator[CollectProgress]:
        """`.beads/interactions.jsonl` of the town and its rigs, by bead."""
        if self._is_off:
            yield Tally("interactions").progress(OFF, finished=True)
            return
        town = await asyncio.to_thread(self._town)
        found = await asyncio.to_thread(lambda: list(interactions_files(town)))
        async for progress in collect_interactions(
            self._filing, [file for file in found if self._settings.allows(file.rig)]
        ):
            yield progress

    async def prime(self, roles: Sequence[str] | None = None) -> AsyncIterator[CollectProgress]:
        """What `gt prime` prints for each role that has a place in the town. Raises Invalid for what is no role."""
        for role in roles or ():
            _check("role", role, ROLES)
        if self._is_off:
            yield Tally("prime").progress(OFF, finished=True)
            return
        town = await asyncio.to_thread(self._town)
        async for progress in collect_prime(self._filing, town, roles):
            yield progress

    async def add(
        self, path: Path, *, role: str, task: Task | None = None, rig: str | None = None
    ) -> AsyncIterator[CollectProgress]:
        """Curated examples: chat messages or text. Raises Missing, or Invalid with the line, or for a role or a rig
        that nobody knows: nothing of the file was added then.
        """
        _check("role", role, AUDIENCE)
        if rig is not None:
            town = await asyncio.to_thread(self._town)
            _check("rig", rig, [known.name for known in town.rigs])
        examples = await asyncio.to_thread(read_examples, path)
        tally = Tally("add", total=len(examples))
        yield tally.progress()
        for example in examples:
            tally.entries.append(await self._filing.put(_curated(example, role, task, rig), tally, by_content=True))
            if tally.is_due:
                yield tally.progress()
        yield tally.progress(finished=True)

    async def changed(self, event: ConfigChanged | FormulaChanged) -> None:
        """Collect the one artifact that changed; what no instruction names any more is retired before."""
        await self._history.record(event)
        town = await asyncio.to_thread(self._town)
        found = town_file(town, event.path)
        if (
            self._is_off
            or found is None
            or found.kind not in INSTRUCTIONS | FORMULAS
            or not self._settings.allows(found.rig)
        ):
            return
        tally = Tally("artifacts")
        document = await asyncio.to_thread(_current, found)
        await self._retire(found, document, event.at)
        if document is not None:
            await self._filing.put(document, tally)
        elif not found.file.exists():
            await self._filing.withdraw([document_id("artifact", IN_TOWN + found.path)], tally)

    async def bead_changed(self, event: BeadState) -> None:
        """Tell the life of this bead anew, where its database can be read."""
        town = await asyncio.to_thread(self._town)
        rig = rig_of_database(town, event.database)
        if self._databases is None or self._is_off or not self._settings.allows(rig) or not BEAD.fullmatch(event.bead):
            return
        if event.database in await asyncio.to_thread(self._databases.access.databases):
            await self._databases.refresh(event.database, event.bead, rig)

    async def evidence_changed(self, beads: Iterable[str]) -> None:
        """Judge the lives that are told of these beads once more: something else is known of their work."""
        if self._databases is None or self._is_off:
            return
        town = await asyncio.to_thread(self._town)
        known = await asyncio.to_thread(self._databases.access.databases)
        for bead in beads:
            database = database_of_bead(town, bead)
            if database in known and await self._filing.filed("operational", f"bead:{database}/{bead}"):
                await self._databases.refresh(database, bead, rig_of_database(town, database))

    async def _of_folder(self, town: Town, folder: Path, rig: str | None) -> AsyncIterator[CollectProgress]:
        real = await asyncio.to_thread(folder.resolve)
        if not real.is_dir():
            raise Missing(f"{folder} is no folder; give one that holds documents")
        files = await asyncio.to_thread(lambda: list(folder_files(real, rig)))
        root = town.root.resolve()
        if not real.is_relative_to(root):
            return collect_artifacts(self._filing, self._chosen(files), real, folder_scope(real))
        inside = "" if real == root else f"{real.relative_to(root).as_posix()}/"
        ours = [_in_town(town, file, inside) for file in files]
        return collect_artifacts(self._filing, self._chosen(ours), root, IN_TOWN, inside)

    async def _of_databases(self, wanted: Sequence[str] | None) -> AsyncIterator[CollectProgress]:
        if self._databases is None:
            note = "reading beads is switched off in the configuration; give an export"
            yield Tally("operational").progress(note, finished=True)
            return
        town = await asyncio.to_thread(self._town)
        known = await asyncio.to_thread(self._databases.access.databases)
        chosen = list(dict.fromkeys(wanted or known))
        for database in chosen:
            if database not in known:
                raise Missing(f"{database} is no database of this town; it has {', '.join(known)}")
        rigs = {database: rig_of_database(town, database) for database in chosen}
        notes: dict[str, str] = {}
        beads = await self._beads_in([database for database in chosen if self._settings.allows(rigs[database])], notes)
        sums = CollectProgress(phase="operational")
        for database in beads:
            before = sums
            try:
                async for progress in self._databases.collect(database, rigs[database]):
                    beads[database] = progress.total or 0
                    told = {"total": sum(beads.values()), "note": database, "finished": False}
                    sums = added(before, progress).model_copy(update=told)
                    yield sums
            except (Unreachable, NotReady) as error:
                notes[database] = str(error)
        note = "; ".join(f"{database}: {why}" for database, why in notes.items())
        yield sums.model_copy(update={"total": sum(beads.values()), "note": note, "finished": True})

    async def _beads_in(self, databases: Sequence[str], notes: dict[str, str]) -> dict[str, int]:
        """How many beads each has, so that progress is of all; one that does not answer is noted instead."""
        assert self._databases is not None
        found: dict[str, int] = {}
        for database in databases:
            try:
                found[database] = await self._databases.count(database)
            except (Unreachable, NotReady) as error:
                notes[database] = str(error)
        return found

    def _owner(self, town: Town, databases: Sequence[str] | None, rig: str | None) -> Callable[[str], Owner | None]:
        if databases is not None and len(databases) > 1:
            raise Invalid(f"an export is of one database, not of {', '.join(databases)}; name one")

        def owner(bead: str) -> Owner | None:
            database = databases[0] if databases else database_of_bead(town, bead) or bead.split("-", 1)[0]
            whose = rig or town.rig_of_bead(bead) or rig_of_database(town, database)
            return Owner(database, whose) if self._settings.allows(whose) else None

        return owner

    async def _retire(self, found: ArtifactFile, document: Document | None, at: datetime) -> None:
        """Before the new text takes the old one's place: a second run then compares the same two."""
        filed = await self._filing.filed("artifact", IN_TOWN)
        old = filed.get(document_id("artifact", IN_TOWN + found.path))
        new_text = await self._filing.scrubbed(document.messages[0].content) if document else None
        if new_text:
            await self._history.revive(commands_named(new_text), found.rig)
        if old is None:
            return
        old_text = (await self._filing.read(old.sha256)).messages[0].content
        town = await asyncio.to_thread(self._town)
        others = [
            (await self._filing.read(row.sha256)).messages[0].content
            for row in filed.values()
            if row is not old and self._tells(town, row.origin[len(IN_TOWN) :], found.rig)
        ]
        gone = await asyncio.to_thread(retired, old_text, new_text, others)
        await self._history.retire(gone, found.rig, at, found.path)

    @staticmethod
    def _tells(town: Town, path: str, rig: str | None) -> bool:
        """Whether a file instructs agents of this rig; for a change in the town itself: of any rig."""
        if kind_of(path) not in INSTRUCTIONS | FORMULAS:
            return False
        return rig is None or rig_of_path(town, path) in (None, rig)

    @property
    def _is_off(self) -> bool:
        return not self._settings.enabled

    def _chosen(self, files: Sequence[ArtifactFile]) -> list[ArtifactFile]:
        return [file for file in files if self._settings.allows(file.rig)]


def _check(noun: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise Invalid(f"{name!r} is no {noun}; there are {', '.join(known) or 'none'}")


def _current(found: ArtifactFile) -> Document | None:
    try:
        return read_artifact(found, IN_TOWN) if found.file.is_file() else None
    except (OSError, Invalid):
        return None


def _in_town(town: Town, file: ArtifactFile, inside: str) -> ArtifactFile:
    path = inside + file.path
    return ArtifactFile(file.file, path, kind_of(path) or file.kind, rig_of_path(town, path))


def _curated(example: Example, role: str, task: Task | None, rig: str | None) -> Document:
    is_chat = any(message.role == "assistant" for message in example.messages)
    outcome = Outcome(label=example.outcome, confidence=1.0) if example.outcome else COLLECTED
    return Document(
        kind="curated",
        origin="curated:",
        source="operator",
        messages=example.messages,
        role=example.role or role,
        rig=rig,
        model=example.model,
        title=example.title,
        task=example.task or task or ("other" if is_chat else "document"),
        outcome=outcome,
        cut="the whole example",
    )
