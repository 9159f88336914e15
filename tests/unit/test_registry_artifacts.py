"""The store of artifacts: whole or not there, vouched for or refused, and nothing altered is opened."""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gtftd.errors import Corrupt, GtftdError, Invalid, Missing, NoSpace, Refused
from gtftd.registry.artifacts import ArtifactStore, StoredArtifact
from gtftd.registry.bounded_json import JSON
from gtftd.registry.signing import Keys
from tests.support.artifacts import (
    SMALL,
    killed_at,
    make_source,
    mutated,
    rewrite,
    safetensors_of,
    small_gguf,
    small_safetensors,
    store_in,
)
from tests.support.disk import small_disk

NAMES = ["config.json", "extra/merges.txt", "model.safetensors", "tokenizer.model"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return store_in(tmp_path)


@pytest.fixture
def stored(store: ArtifactStore, source: Path) -> StoredArtifact:
    return store.add(source)


def left_in(store: ArtifactStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.name != ".lock")


def test_what_is_added_is_named_by_its_manifest_signed_and_read_only(store: ArtifactStore, source: Path) -> None:
    """Files 0444, folders 0555, everything named, and open and verify find nothing wrong."""
    found = store.add(source, {"base_model": "llama", "rank": 8})
    assert (NAMES, "safetensors") == ([file.name for file in found.files], found.format)
    assert {"base_model": "llama", "rank": 8} == found.about
    modes = {stat.S_IMODE(path.stat().st_mode) for path in found.folder.rglob("*") if path.is_file()}
    assert {0o444} == modes
    assert {0o555} == {stat.S_IMODE(path.stat().st_mode) for path in (found.folder, found.folder / "extra")}
    assert (found, ()) == (store.open(found.digest), store.verify(found.digest))
    assert [found.digest] == store.digests() == left_in(store)


def test_the_same_content_is_one_artifact(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    """Whoever signs and whenever; what is told about it makes another."""
    first, again = store.add(source), store.add(shutil.copytree(source, tmp_path / "again"))
    assert (first.digest, [first.digest]) == (again.digest, left_in(store))
    assert first.digest == store_in(tmp_path / "elsewhere").add(source).digest
    assert first.digest != store.add(source, {"rank": 8}).digest


@pytest.mark.parametrize("form", list(SMALL))
def test_one_file_is_an_artifact(store: ArtifactStore, tmp_path: Path, form: str) -> None:
    """A folder is not needed."""
    path = tmp_path / f"model.{form}"
    path.write_bytes(SMALL[form]())
    assert ((path.name,), form) == (tuple(file.name for file in store.add(path).files), store.add(path).format)


def test_an_altered_artifact_is_replaced_when_it_is_added_again(
    store: ArtifactStore, source: Path, stored: StoredArtifact
) -> None:
    """The way to repair one."""
    rewrite(stored.folder / "config.json", b"{}")
    assert stored.digest == store.add(source).digest
    assert () == store.verify(stored.digest)
    assert [stored.digest] == left_in(store)


def test_many_at_once_store_one(store: ArtifactStore, source: Path) -> None:
    """Adders of the same content do not disturb each other."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(store.add(source).digest)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (6, 1) == (len(found), len(set(found)))
    assert ([found[0]], ()) == (left_in(store), store.verify(found[0]))


def test_remove_frees_once(store: ArtifactStore, stored: StoredArtifact) -> None:
    """The second finds it gone, and so does everybody else."""
    assert stored.size_bytes < store.remove(stored.digest)
    assert (0, [], []) == (store.remove(stored.digest), store.digests(), left_in(store))
    with pytest.raises(Missing):
        store.open(stored.digest)
    with pytest.raises(Missing):
        store.verify(stored.digest)


@pytest.mark.parametrize("digest", ["", "0" * 64, "../keys", ".lock", "A" * 64, "0" * 63 + "\n"])
def test_what_is_no_digest_is_missing(store: ArtifactStore, stored: StoredArtifact, digest: str) -> None:
    """No word leads out of the store."""
    with pytest.raises(Missing):
        store.open(digest)
    assert (0, [stored.digest]) == (store.remove(digest), store.digests())


OFFERED: dict[str, tuple[str, bytes]] = {
    "pickle by its name": ("weights.bin", b"harmless"),
    "torch": ("model.pt", b"PK\x03\x04...."),
    "program": ("load.py", b"print()"),
    "pickle as tensors": ("b.safetensors", b"\x80\x04\x95\x10\0\0\0\0\0\0\0}."),
    "pickle as JSON": ("b.json", b"\x80\x05}."),
    "pickle as a tokenizer": ("b.model", b"\x80\x02}q\0."),
    "old pickle as text": ("b.json", b"(dp0\n."),
    "zip as GGUF": ("b.gguf", b"PK\x03\x04" + bytes(64)),
    "zip as a tokenizer": ("b.model", b"PK\x03\x04" + bytes(64)),
    "ELF as text": ("b.txt", b"\x7fELF" + bytes(64)),
    "numpy": ("b.model", b"\x93NUMPY" + bytes(64)),
    "deep JSON": ("b.json", b"[" * 100_000 + b"]" * 100_000),
    "no JSON": ("b.json", b"{"),
    "JSON twice": ("b.json", b'{"a": 1, "a": 2}'),
    "text that is none": ("b.txt", b"\xff\xfe\0"),
    "hidden": (".gitattributes", b"x"),
    "odd name": ("a b.json", b"{}"),
    "odder name": ("a\nb.json", b"{}"),
    "name of ours": ("manifest.json", b"{}"),
    "too deep": ("a/b/c/d.json", b"{}"),
    "no ending": ("LICENSE", b"x"),
    "other format": ("b.gguf", small_gguf()),
    "no header": ("b.safetensors", b""),
}


@pytest.mark.parametrize("what", list(OFFERED))
def test_what_may_not_be_stored_leaves_nothing(store: ArtifactStore, source: Path, what: str) -> None:
    """The error names the file; the store stays as it was."""
    name, content = OFFERED[what]
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_bytes(content)
    with pytest.raises(Invalid) as told:
        store.add(source)
    assert what == "other format" or repr(name)[1:6] in str(told.value)
    assert [] == store.digests()
    assert not store.folder.exists() or [] == left_in(store)


def plant_link(source: Path) -> None:
    (source / "b.json").symlink_to(source / "config.json")


def plant_folder_link(source: Path) -> None:
    (source / "b").symlink_to(source / "extra")


def plant_pipe(source: Path) -> None:
    os.mkfifo(source / "b.json")


def take_tensors(source: Path) -> None:
    (source / "model.safetensors").unlink()


def make_large(source: Path) -> None:
    with (source / "b.json").open("wb") as file:
        file.truncate(65_000_000)


@pytest.mark.parametrize("harm", [plant_link, plant_folder_link, plant_pipe, take_tensors, make_large])
def test_links_pipes_and_models_without_tensors_are_refused(
    store: ArtifactStore, source: Path, harm: Callable[[Path], None]
) -> None:
    """Only regular files are copied, small ones beside the tensors, and a model has tensors."""
    harm(source)
    with pytest.raises(Invalid):
        store.add(source)
    assert [] == store.digests()


def test_a_header_may_begin_like_a_pickle(store: ArtifactStore, tmp_path: Path) -> None:
    """640 bytes of header are written as 80 02: the bytes with which a pickle of protocol 2 begins."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_of({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x", pad_to=640))
    assert b"\x80\x02" == path.read_bytes()[:2]
    assert () == store.verify(store.add(path).digest)


@pytest.mark.parametrize("about", [{"a": float("nan")}, {"a": object()}])
def test_about_must_be_said_in_json(store: ArtifactStore, source: Path, about: Mapping[str, JSON]) -> None:
    """What cannot be spelled leaves nothing behind."""
    with pytest.raises(Invalid):
        store.add(source, about)
    assert [] == left_in(store)


def add_file(folder: Path) -> None:
    rewrite(folder / "b.json", b"{}")


def add_folder(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "b").mkdir()


def remove_file(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "config.json").unlink()


def rename_file(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "config.json").rename(folder / "settings.json")


def link_file(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


def link_folder(folder: Path) -> None:
    """All files behind it are as they were."""
    folder.chmod(0o700)
    (folder / "extra").chmod(0o700)
    (folder / "extra").rename(folder.parent / "extra")
    (folder / "extra").symlink_to(folder.parent / "extra")


def pipe_for_file(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def shorten_file(folder: Path) -> None:
    rewrite(folder / "model.safetensors", small_safetensors()[:-1])


def remove_manifest(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "manifest.json").unlink()


def respell_manifest(folder: Path) -> None:
    rewrite(folder / "manifest.json", (folder / "manifest.json").read_bytes() + b" ")


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize(
    "harm",
    [add_file, add_folder, remove_file, rename_file, link_file, link_folder, pipe_for_file, shorten_file,
     remove_manifest, respell_manifest],
)  # fmt: skip
def test_an_altered_artifact_is_corrupt(
    store: ArtifactStore, stored: StoredArtifact, harm: Callable[[Path], None], summed: bool
) -> None:
    """Listings see it too; and it can be removed all the same."""
    harm(stored.folder)
    with pytest.raises(Corrupt):
        store.open(stored.digest, summed=summed)
    assert () != store.verify(stored.digest)
    store.remove(stored.digest)
    assert [] == store.digests()


def test_a_changed_byte_of_the_data_is_found_by_its_sum(store: ArtifactStore, stored: StoredArtifact) -> None:
    """Every loader comes in by the summed door; the other one is for listings."""
    rewrite(stored.folder / "model.safetensors", small_safetensors()[:-1] + b"\xff")
    with pytest.raises(Corrupt, match="has not the sum"):
        store.open(stored.digest)
    assert stored == store.open(stored.digest, summed=False)
    assert 1 == len(store.verify(stored.digest))


def test_all_problems_are_told(store: ArtifactStore, stored: StoredArtifact) -> None:
    """One sentence each."""
    add_file(stored.folder)
    remove_file(stored.folder)
    shorten_file(stored.folder)
    assert 3 == len(store.verify(stored.digest))


def test_an_unsigned_artifact_is_refused(store: ArtifactStore, stored: StoredArtifact) -> None:
    """Whole and right, and nobody vouches for it."""
    stored.folder.chmod(0o700)
    (stored.folder / "manifest.sig").unlink()
    with pytest.raises(Refused, match="not signed"):
        store.open(stored.digest)
    assert 1 == len(store.verify(stored.digest))


def test_the_signature_of_another_artifact_is_refused(
    store: ArtifactStore, source: Path, stored: StoredArtifact
) -> None:
    """By the right key, of something else."""
    other = store.add(source, {"other": True})
    rewrite(stored.folder / "manifest.sig", (other.folder / "manifest.sig").read_bytes())
    with pytest.raises(Refused, match="of something else"):
        store.open(stored.digest)


def test_a_stranger_is_refused_and_a_trusted_one_is_not(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    """Whose key stands in `registry.trusted_keys`, and of nobody else but ourselves."""
    theirs = store_in(tmp_path / "theirs").add(source)
    shutil.copytree(theirs.folder, store.folder / theirs.digest)
    with pytest.raises(Refused, match="whom nobody here trusts"):
        store.open(theirs.digest)
    trusting = ArtifactStore(store.folder, Keys.open(tmp_path / "keys", [theirs.signer]))
    assert theirs.signer == trusting.open(theirs.digest).signer


def test_an_artifact_under_another_name_is_corrupt(store: ArtifactStore, stored: StoredArtifact) -> None:
    """The name is the sum of the manifest."""
    stored.folder.rename(store.folder / ("0" * 64))
    with pytest.raises(Corrupt):
        store.open("0" * 64)


def test_a_link_to_an_artifact_is_corrupt_and_its_removal_spares_the_target(
    store: ArtifactStore, stored: StoredArtifact, tmp_path: Path
) -> None:
    """Nothing outside of the store is opened or deleted."""
    stored.folder.chmod(0o700)
    stored.folder.rename(tmp_path / "outside")
    stored.folder.symlink_to(tmp_path / "outside")
    with pytest.raises(Corrupt):
        store.open(stored.digest)
    store.remove(stored.digest)
    assert ([], True) == (store.digests(), (tmp_path / "outside" / "config.json").exists())


@pytest.mark.parametrize("form", list(SMALL))
def test_of_125_mutated_artifacts_none_is_opened(tmp_path: Path, form: str) -> None:
    """Any file of it, the manifest and the signature too; and there is never another error than ours."""
    rng = random.Random(f"whole {form}")
    store = store_in(tmp_path)
    stored = store.add(make_source(tmp_path / "source", form))
    paths = sorted(path for path in stored.folder.rglob("*") if path.is_file())
    for _ in range(125):
        path = stored.folder / f"model.{form}" if rng.random() < 0.5 else rng.choice(paths)
        content = path.read_bytes()
        rewrite(path, mutated(rng, content))
        with pytest.raises((Corrupt, Refused)):
            store.open(stored.digest)
        assert () != store.verify(stored.digest)
        opened_for_listing(store, stored.digest)
        rewrite(path, content)
    assert () == store.verify(stored.digest)


def opened_for_listing(store: ArtifactStore, digest: str) -> None:
    try:
        store.open(digest, summed=False)
    except GtftdError:
        return


ADD_POINTS = ["artifact.copied", "file.synced", "file.synced:2", "artifact.signed", "artifact.renamed"]


@pytest.mark.parametrize("point", ADD_POINTS)
def test_killed_while_adding_there_is_none_or_the_whole(tmp_path: Path, source: Path, point: str) -> None:
    """What is left is tidied, and adding again makes it whole."""
    store = store_in(tmp_path)
    assert killed_at(point, "add", tmp_path)
    found = store.digests()
    assert int(point == "artifact.renamed") == len(found)
    assert [()] * len(found) == [store.verify(digest) for digest in found]
    store.tidy()
    assert found == left_in(store)
    assert [store.add(source).digest] == left_in(store)


def test_killed_while_removing_it_is_gone(tmp_path: Path, source: Path) -> None:
    """Set aside is gone for everybody; the rest is tidied."""
    store = store_in(tmp_path)
    store.add(source)
    assert killed_at("artifact.set_aside", "remove", tmp_path)
    assert ([], 1) == (store.digests(), len(left_in(store)))
    store.tidy()
    assert [] == left_in(store)


def test_tidy_leaves_those_alone_who_are_at_work(store: ArtifactStore, stored: StoredArtifact) -> None:
    """A half-written folder may be somebody's who lives."""
    (store.folder / ".adding-1").mkdir()
    with store._shared():
        store.tidy()
        assert ".adding-1" in left_in(store)
    store.tidy()
    assert [stored.digest] == left_in(store)


@pytest.mark.root
def test_a_full_disk_is_no_space_and_leaves_nothing(tmp_path: Path, source: Path) -> None:
    """Once some is free, the same order succeeds."""
    with small_disk(tmp_path / "disk", size_mib=2) as disk:
        store = ArtifactStore(disk.root / "models", Keys.open(tmp_path / "keys"))
        store.folder.mkdir()
        disk.fill()
        with pytest.raises(NoSpace):
            store.add(source)
        assert [] == left_in(store)
        disk.free()
        assert () == store.verify(store.add(source).digest)
