"""Whether a snapshot is what its id says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gtftd.corpus.snapshot.folder import Snapshot, objects_folder, open_snapshot
from gtftd.corpus.snapshot.manifest import id_of, root_of
from gtftd.corpus.snapshot.objects import read_entry, read_text
from gtftd.errors import GtftdError
from gtftd.schemas.snapshots import FileSum, Item, Verification

MOST = 50


def verify(state_dir: Path, id_prefix: str) -> Verification:
    """Every sum computed again: files, Merkle root, id, contents, texts. At most 50 problems are told."""
    snapshot = open_snapshot(state_dir, id_prefix)
    problems = list(_files(snapshot))
    if problems:
        return Verification(id=snapshot.manifest.id, items=0, contents=0, problems=tuple(problems[:MOST]))
    items = list(snapshot.items())
    problems += _sums(snapshot, items)
    if snapshot.is_tainted:
        problems.append("it is tainted: some of its contents were purged")
    contents = {item.sha256 for item in items}
    texts = {text for item in items for text in item.texts}
    problems += _contents(objects_folder(state_dir), contents, texts)
    return Verification(
        id=snapshot.manifest.id, items=len(items), contents=len(contents) + len(texts), problems=tuple(problems[:MOST])
    )


def sum_of(path: Path) -> FileSum:
    """Of a file that was written whole."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
    return FileSum(sha256=digest.hexdigest(), size_bytes=size, lines=lines)


def _files(snapshot: Snapshot) -> Iterator[str]:
    for name, told in snapshot.manifest.files.items():
        path = snapshot.folder / name
        if not path.is_file():
            yield f"{name} is gone"
        elif sum_of(path) != told:
            yield f"{name} was changed after it was written"


def _sums(snapshot: Snapshot, items: Iterable[Item]) -> Iterator[str]:
    manifest = snapshot.manifest
    root = root_of(items)
    if root != manifest.root:
        yield f"the items have the root {root}, the manifest says {manifest.root}"
    found = id_of(
        root,
        builder=manifest.builder,
        selection=manifest.selection,
        settings=manifest.settings,
        conventions=manifest.conventions,
        evals=manifest.evals.digest,
        files=manifest.files,
    )
    if found != manifest.id:
        yield f"items and files make the id {found}, the manifest says {manifest.id}"


def _contents(objects: Path, contents: Iterable[str], texts: Iterable[str]) -> Iterator[str]:
    for read, digests in ((read_entry, contents), (read_text, texts)):
        for digest in sorted(digests):
            try:
                read(objects, digest)
            except GtftdError as error:
                yield str(error)
            except ValueError:
                yield f"{digest} is no entry that this version can read"
