"""Builds a snapshot out of the corpus: gathered, chosen, written aside, renamed into place."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from gtftd.corpus.snapshot.cache import FeatureCache
from gtftd.corpus.snapshot.choose import Choice, cap_for, choose
from gtftd.corpus.snapshot.conventions import conventions_digest
from gtftd.corpus.snapshot.evals import EvalIndex, read_evals
from gtftd.corpus.snapshot.folder import (
    BUILDING,
    CONTENT_SUFFIX,
    MANIFEST,
    TEXT_SUFFIX,
    all_snapshots,
    load_manifest,
    locked,
    objects_folder,
    snapshots_folder,
)
from gtftd.corpus.snapshot.gates import reasons_against
from gtftd.corpus.snapshot.gather import Gathered, Progress, gather
from gtftd.corpus.snapshot.manifest import BUILDER, id_of, root_of, settings_digest
from gtftd.corpus.snapshot.objects import Objects
from gtftd.corpus.snapshot.pairs import Source, make_pairs, make_unpaired
from gtftd.corpus.snapshot.select import selection_of
from gtftd.corpus.snapshot.sources import new_sources
from gtftd.corpus.snapshot.splits import SplitBook, give_splits
from gtftd.corpus.snapshot.taint import FEATURES
from gtftd.corpus.snapshot.verify import sum_of
from gtftd.errors import Corrupt, Missing, NoSpace
from gtftd.logs import get_logger
from gtftd.schemas.settings import SettingsModel, SnapshotSettings
from gtftd.schemas.snapshots import EvalSummary, Item, Manifest, Pair, Share, Unpaired
from gtftd.state.crash import crash_point
from gtftd.state.database import open_reader
from gtftd.state.files import fsync_folder, is_full, write_atomic

log = get_logger("corpus")
SPLITS = "splits.db"
_SOURCES_LISTED = 50


def build_snapshot(
    state_dir: Path,
    settings: SettingsModel,
    *,
    role: str | None = None,
    rig: str | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """A second build of the same corpus with the same settings makes nothing new.

    Killed at any point there is no snapshot, or a whole one. Raises Missing where no daemon has ever run, Invalid
    for an examination that cannot be read, Busy when another build does not end.
    """
    if not (state_dir / "state.db").is_file():
        raise Missing(f"{state_dir} holds no state of a gtftd; has one ever run for this town?")
    began = time.monotonic()
    index = read_evals(settings.snapshots.eval_items)
    with locked(state_dir):
        _tidy(state_dir)
        folder = snapshots_folder(state_dir) / f"{BUILDING}{secrets.token_hex(6)}"
        folder.mkdir(mode=0o700)
        try:
            with _translated(state_dir):
                manifest, is_new = _Build(state_dir, settings, role, rig, index, progress or _silent).run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    log.info(
        "snapshot.built" if is_new else "snapshot.unchanged",
        snapshot=manifest.id,
        items=manifest.items,
        ready=manifest.ready,
        duration_s=round(time.monotonic() - began, 3),
    )
    return manifest


class _Build:
    """One build, under the lock."""

    def __init__(
        self,
        state_dir: Path,
        settings: SettingsModel,
        role: str | None,
        rig: str | None,
        index: EvalIndex,
        progress: Progress,
    ) -> None:
        self.state_dir = state_dir
        self.settings: SnapshotSettings = settings.snapshots
        self.selection = selection_of(role, rig, settings.sharing.rigs)
        self.index = index
        self.progress = progress
        self.objects = Objects(objects_folder(state_dir), state_dir / "entries")

    def run(self, folder: Path) -> tuple[Manifest, bool]:
        """The manifest, and whether the snapshot is new."""
        cache = FeatureCache.open(snapshots_folder(self.state_dir) / FEATURES, self.settings.window_tokens)
        try:
            gathered = self._gather(cache)
            book = SplitBook(snapshots_folder(self.state_dir) / SPLITS)
            splits, new = give_splits(gathered.nodes, book.read(), self.settings)
            self.progress("choose", 0, len(gathered.taken))
            choice = choose(gathered, splits, self.settings, cache.phrases)
            book.add(new, choice.newest_at)
            crash_point("snapshot.split")
        finally:
            cache.close()
        manifest = self._write(folder, gathered, choice)
        return self._publish(folder, manifest, choice)

    def _gather(self, cache: FeatureCache) -> Gathered:
        with contextlib.closing(open_reader(self.state_dir / "state.db")) as connection:
            connection.isolation_level = None
            return gather(connection, self.selection, self.settings, self.index, self.objects, cache, self.progress)

    def _write(self, folder: Path, gathered: Gathered, choice: Choice) -> Manifest:
        """Every file but the manifest."""
        self.progress("write", 0, len(choice.items))
        sources = [Source(item, gathered.measured[item.sha256].features) for item in choice.items]
        pairs = make_pairs(sources, self.settings.pairs_per_entry)
        unpaired = make_unpaired(sources, pairs)
        lines: Mapping[str, Iterable[BaseModel]] = {
            "items.jsonl": choice.items, "pairs.jsonl": pairs, "unpaired.jsonl": unpaired,
            "excluded.jsonl": choice.excluded,
        }  # fmt: skip
        for name, models in lines.items():
            content = "".join(f"{model.model_dump_json(exclude_none=True)}\n" for model in models)
            write_atomic(folder / name, content.encode())
        crash_point("snapshot.written")
        return self._manifest(folder, gathered, choice, pairs, unpaired)

    def _manifest(
        self, folder: Path, gathered: Gathered, choice: Choice, pairs: Sequence[Pair], unpaired: Sequence[Unpaired]
    ) -> Manifest:
        files = {path.name: sum_of(path) for path in sorted(folder.glob("*.jsonl"))}
        settings = settings_digest(self.settings)
        conventions = conventions_digest(gathered.retired, self.selection.rigs)
        root = root_of(choice.items)
        reasons = reasons_against(choice.items, self.selection, self.settings, self.index, choice.unmet)
        train = [item for item in choice.items if item.use == "sft" and item.split == "train"]
        new = new_sources((taken.row for taken in gathered.taken), choice.newest_at, self.settings.new_source_days)
        return Manifest(
            id=id_of(
                root, builder=BUILDER, selection=self.selection, settings=settings, conventions=conventions,
                evals=self.index.digest, files=files,
            ),
            root=root,
            created_at=time.time(),
            builder=BUILDER,
            selection=self.selection,
            settings=settings,
            conventions=conventions,
            newest_at=choice.newest_at,
            items=len(choice.items),
            by_use=_counted(item.use for item in choice.items),
            by_split=_counted(item.split for item in choice.items),
            by_label=_counted(item.label for item in choice.items),
            excluded=_left_out(gathered, choice),
            supervised_tokens=sum(item.supervised_tokens for item in train),
            windows=sum(item.windows for item in train),
            pairs=len(pairs),
            unpaired=len(unpaired),
            roles=tuple(_shares(train, lambda item: item.role)),
            sources=tuple(_shares(train, lambda item: item.source, cap_for(new, self.settings)))[:_SOURCES_LISTED],
            own_models=_own(train, self.settings),
            scrubbers=tuple(sorted({item.scrubber for item in choice.items})),
            outliers=tuple(choice.outliers),
            evals=_evals(self.index, choice),
            files=files,
            ready=not reasons,
            reasons=tuple(reasons),
        )  # fmt: skip

    def _publish(self, folder: Path, manifest: Manifest, choice: Choice) -> tuple[Manifest, bool]:
        """Rename into place, unless it is there; then let go of what was linked and is not needed."""
        target = snapshots_folder(self.state_dir) / manifest.id
        is_new = not (target / MANIFEST).exists()
        if is_new:
            write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
            fsync_folder(folder)
            crash_point("snapshot.manifest")
            folder.rename(target)
            fsync_folder(target.parent)
            crash_point("snapshot.renamed")
        else:
            manifest = load_manifest(target)
        if self.objects.linked:
            self.objects.remove(self.objects.linked - _names(choice.items))
        self.progress("done", manifest.items, manifest.items)
        return manifest, is_new


@contextlib.contextmanager
def _translated(state_dir: Path) -> Iterator[None]:
    """Errors of the disk and of the databases as ours."""
    try:
        yield
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL:
            raise NoSpace(f"no space left for {snapshots_folder(state_dir)}; free some disk") from error
        raise Corrupt(f"a database of {state_dir} cannot be used: {error}; features.db may be deleted") from error
    except OSError as error:
        if is_full(error):
            raise NoSpace(f"no space left for {snapshots_folder(state_dir)}; free some disk") from error
        raise


def _tidy(state_dir: Path) -> None:
    """After a killed build: its folder goes, and every content that no snapshot names."""
    left = list(snapshots_folder(state_dir).glob(f"{BUILDING}*"))
    if not left:
        return
    objects = Objects(objects_folder(state_dir), state_dir / "entries")
    snapshots = all_snapshots(state_dir)
    if len(snapshots) == len(list(snapshots_folder(state_dir).glob(f"[!.]*/{MANIFEST}"))):
        objects.remove(objects.names() - {name for one in snapshots for name in _names(one.items())})
    for folder in left:
        shutil.rmtree(folder)
    log.info("snapshot.tidied", folders=len(left))


def _names(items: Iterable[Item]) -> set[str]:
    """The files that items need."""
    found = set()
    for item in items:
        found.add(f"{item.sha256}{CONTENT_SUFFIX}")
        found.update(f"{text}{TEXT_SUFFIX}" for text in item.texts)
    return found


def _left_out(gathered: Gathered, choice: Choice) -> Mapping[str, int]:
    found = Counter({"not_selected": gathered.not_selected}) if gathered.not_selected else Counter()
    found.update(line.reason for line in choice.excluded)
    return dict(sorted(found.items()))


def _counted(names: Iterable[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(names).items()))


def _shares(
    train: Sequence[Item], name_of: Callable[[Item], str], cap_of: Callable[[str], float] | None = None
) -> Iterator[Share]:
    """The largest first."""
    total = sum(item.supervised_tokens for item in train) or 1
    tokens: Counter[str] = Counter()
    for item in train:
        tokens[name_of(item)] += item.supervised_tokens
    entries = Counter(map(name_of, train))
    for name, count in sorted(tokens.items(), key=lambda found: (-found[1], found[0])):
        share, cap = round(count / total, 4), cap_of(name) if cap_of else None
        yield Share(name=name, entries=entries[name], tokens=count, share=share, cap=cap)


def _own(train: Sequence[Item], settings: SnapshotSettings) -> Share:
    own = [item for item in train if item.own_model]
    tokens, total = sum(item.supervised_tokens for item in own), sum(item.supervised_tokens for item in train) or 1
    return Share(
        name="own models", entries=len(own), tokens=tokens, share=round(tokens / total, 4), cap=settings.own_model_cap
    )


def _evals(index: EvalIndex, choice: Choice) -> EvalSummary:
    hits: Counter[str] = Counter()
    for line in choice.excluded:
        if line.reason == "contaminated":
            hits.update(line.why.partition(" eval item ")[2].split(", "))
    return EvalSummary(
        files=index.files,
        items=index.items,
        too_short=index.too_short,
        digest=index.digest,
        hits=_counted(hits.elements()),
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""
