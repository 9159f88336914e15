"""The process that owns the index: it answers, ends as it should, and is whole after any death."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.errors import GtftdError, Invalid
from gtftd.rag.index import Index
from gtftd.schemas.rag import SearchQuery
from tests.support.rag_child import IndexProcess, killed_at, note, wait_for
from tests.support.rag_embedder import HashedWords


@pytest.fixture
def child(tmp_path: Path) -> Iterator[IndexProcess]:
    process = IndexProcess(tmp_path / "s")
    yield process
    process.end()


def test_it_serves_what_the_daemon_asks(child: IndexProcess) -> None:
    """Put, search, ids, remove, begin anew; frames of 8 MiB and no larger ones."""
    first = child.start()
    assert child.process is not None
    assert child.process.pid == first.pid
    assert 3 == child.put(*(note(number) for number in range(3)))["added"]
    assert "file:note1.md" == child.found("uniqueword1x0")[0]
    status = child.wait_embedded()
    assert ("minilm", 384) == (status.model.split("-")[0], status.dimensions)
    assert child.call("index.search", text="common", everything=True)["dense"]
    assert 3 == len(child.call("index.ids", prefix="file:")["ids"])
    assert 2 == child.call("index.remove", ids=[note(0).id, note(2).id])["removed"]
    many = [note(number).model_copy(update={"text": " " * 100_000 + "few words"}) for number in range(10, 40)]
    assert 30 <= child.put(*many)["added"]
    with pytest.raises(Invalid, match="at most 8388608 bytes"):
        child.put(*many, *many, *many)
    assert first.generation != child.call("index.begin_anew")["generation"]
    assert [] == child.call("index.ids", prefix="file:")["ids"]
    assert 0 == child.end(signal.SIGTERM)
    assert first.generation != child.start().generation


def test_it_ends_with_its_parent(child: IndexProcess) -> None:
    """A killed daemon leaves no process behind, for it held the other end of its standard input."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys\n"
            "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
            "print(child.pid, flush=True); child.wait()",
            *(sys.executable, "-P", "-m", "gtftd.programs.index", str(child.state)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_for(lambda: True if (child.state / "run" / "index.sock").exists() else None)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: None if is_alive(pid) else True)


def test_a_second_owner_is_refused_with_the_reason(child: IndexProcess) -> None:
    child.start()
    second = child.spawn()
    assert second.stdin is not None
    assert second.stderr is not None
    assert 1 == second.wait(60)
    told = second.stderr.read()
    second.stdin.close()
    second.stderr.close()
    assert "owned by another process" in told
    assert f"pid {child.process.pid}" in told if child.process else False


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(2, 6))])
def test_what_was_answered_survives_any_kill(child: IndexProcess, seed: int) -> None:
    """SIGKILL at random instants while documents change: the next start has the last answered version, each once."""
    chance = random.Random(seed)
    answered: dict[int, int] = {}
    version = 0
    for _ in range(3):
        child.start()
        killer = threading.Timer(chance.uniform(0.2, 2.5), child.end)
        killer.start()
        try:
            while True:
                version += 1
                number = version % 7
                child.put(note(number, version=version))
                answered[number] = version
        except GtftdError:  # killed in the middle of a call
            killer.join()
    child.start()
    for number, last in answered.items():
        newest = max(last, version if version % 7 == number else 0)
        found = child.found(f"uniqueword{number}x{last}") + child.found(f"uniqueword{number}x{newest}")
        assert note(number).id in found
    status = child.wait_embedded()
    assert (7, 7, 7) == (status.collections[4].documents, status.collections[4].chunks, status.collections[4].vectors)
    assert all("while it opened chroma" in what for what in status.healed)  # a kill may come twice in a row just then


POINTS = ("index.before_commit:2", "vectors.upserted:2")
MORE = (
    "index.before_commit",
    "index.before_commit:3",
    "index.committed:2",
    "index.committed:3",
    "index.embedded",
    "index.embedded:2",
    "vectors.upserted",
    "vectors.wiped",
)


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(point, marks=pytest.mark.heavy) for point in MORE)])
def test_killed_at_any_point_the_next_start_is_whole(tmp_path: Path, point: str) -> None:
    """What is stored is found by its words and has its vector; a second run of the same work ends the same."""
    assert killed_at(point, tmp_path)
    with_index(tmp_path)
    assert not killed_at("", tmp_path)
    index = Index.open(tmp_path, HashedWords)
    try:
        assert index.wait_embedded()
        status = index.status()
        assert ["file:note0.md", "file:note1.md", "file:note2.md", "file:note5.md"] == index.ids("file:")
        assert (4, 4, 0) == (status.collections[4].chunks, status.collections[4].vectors, status.waiting)
    finally:
        index.close()


def with_index(folder: Path) -> None:
    index = Index.open(folder, HashedWords)
    try:
        assert index.wait_embedded()
        status = index.status()
        assert status.collections[4].chunks == status.collections[4].vectors
        assert status.collections[4].documents == status.collections[4].chunks
        for id_ in index.ids("file:"):
            document = index.document(id_)
            assert document is not None
            assert id_ == index.search(SearchQuery(text=document.text.split()[1], everything=True)).hits[0].document
    finally:
        index.close()


def test_chroma_wiped_or_overwritten_under_it_is_made_anew(child: IndexProcess) -> None:
    """Searches go on; the vectors come back on disk."""
    child.start()
    child.put(*(note(number) for number in range(5)))
    child.wait_embedded()
    chroma = child.state / "rag" / "chroma"
    for harm in (wipe, overwrite):
        before = len(child.status().healed)
        harm(chroma)
        assert "file:note3.md" == child.found("uniqueword3x0")[0]
        wait_for(lambda: True if len(child.status().healed) > before else None)  # noqa: B023
        assert 5 == child.status().collections[4].vectors
    child.put(note(9))
    child.wait_embedded()
    assert 0 == child.end(signal.SIGTERM)
    status = child.start()
    status = child.wait_embedded()
    assert (6, ()) == (status.collections[4].vectors, status.healed)


def wipe(chroma: Path) -> None:
    for path in sorted(chroma.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    chroma.rmdir()


def overwrite(chroma: Path) -> None:
    for path in chroma.rglob("*"):
        if path.is_file():
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(random.Random(7).randbytes(size))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    time.sleep(0.01)
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path(f"/proc/{pid}").exists() else False
