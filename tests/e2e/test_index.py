"""The index of a living town: follows every bead, keeps rigs apart, and heals from whatever happens to it."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.player import publish_port
from gtftd.sampletown.standin import StandIn
from tests.support.sampletown import rows
from tests.support.town import DATABASES, Daemon, SampleTown, until

RIGS = {"hq": None, "harbor": "harbor", "lantern": "lantern"}
PREFIXES = {"hq": "hq", "harbor": "hb", "lantern": "ln"}
pytestmark = pytest.mark.timeout(300)


class Indexed(Daemon):
    """A daemon whose index is asked."""

    def search(self, text: str, *, rig: str | None = None, limit: int = 5) -> list[dict[str, Any]]:
        answer = self.call("rag.search", text=text, rig=rig, everything=rig is None, limit=limit)
        return list(answer["hits"])

    def rag(self) -> dict[str, Any]:
        return dict(self.call("rag.status"))

    @property
    def index(self) -> dict[str, Any] | None:
        return self.rag()["index"]

    def wait_until_fed(self) -> None:
        until(lambda: (told := self.rag())["fed_at"] and not told["feeding"], "everything was fed")

    def wait_until_whole(self) -> None:
        """Everything was fed, and every chunk has its vector."""
        self.wait_until_fed()
        until(lambda: (index := self.index) and not index["waiting"], "every chunk has a vector", within_s=200)

    def documents(self) -> dict[str, int]:
        index = self.index
        assert index is not None
        return {one["name"]: one["documents"] for one in index["collections"]}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[SampleTown]:
    made = SampleTown(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def daemon(town: SampleTown, tmp_path: Path) -> Iterator[Indexed]:
    made = Indexed(town, tmp_path / "state", index=True)
    yield made
    made.end()


@pytest.fixture
def served(town: SampleTown) -> Iterator[SampleTown]:
    """A town in which nobody lives, with a few beads."""
    with StandIn(folder_of(town.root)) as standin:
        publish_port(town.root, standin.port)
        for database in DATABASES:
            beads = writer(town, database)
            for number in range(5):
                beads.create(f"Crate {number} of {database}", actor="mayor", description="It stands on the quay.")
        yield town


def beads_in(town: SampleTown, database: str) -> dict[str, str]:
    """What can be found: the titles of all beads but mail."""
    found = {}
    for table in ("issues", "wisps"):
        for row in rows(town.root, database, f"SELECT id, title, issue_type FROM {table}"):
            if row["issue_type"] != "message":
                found[row["id"]] = row["title"]
    return found


def writer(town: SampleTown, database: str) -> Beads:
    rig = RIGS[database]
    home = town.root if rig is None else town.root / rig / "mayor" / "rig"
    return Beads(folder_of(town.root), database, PREFIXES[database], hooks_dir=home / ".beads" / "hooks")


def test_the_index_follows_a_day_bead_by_bead(town: SampleTown, daemon: Indexed) -> None:
    """Each bead of each database is the first hit for its id, with the status that it has; no rig sees another's."""
    town.install_hooks(daemon.state_dir)
    town.play(800)
    daemon.start_ready()
    daemon.wait_for_the_day()
    daemon.wait_until_fed()
    looked = 0
    for database in DATABASES:
        for bead in beads_in(town, database):
            status = rows(town.root, database, f"SELECT status FROM issues WHERE id = '{bead}' "
                                               f"UNION ALL SELECT status FROM wisps WHERE id = '{bead}'")  # fmt: skip
            own = daemon.search(bead, rig=RIGS[database], limit=1)
            assert [f"bead:{database}/{bead}"] == [hit["document"] for hit in own]
            assert f"status: {status[0]['status']}" in own[0]["text"]
            for rig in {"harbor", "lantern"} - {database}:
                seen = {hit["rig"] for hit in daemon.search(bead, rig=rig, limit=20)}
                assert seen <= {rig, None}
            looked += 1
    assert looked > 30
    assert daemon.documents()["sessions"] > 10
    assert {} == daemon.degraded()


def test_an_edit_is_found_and_what_it_replaced_is_not(served: SampleTown, daemon: Indexed) -> None:
    served.install_hooks(daemon.state_dir)
    daemon.start_ready()
    daemon.wait_until_warm()
    daemon.wait_until_fed()
    beads = writer(served, "harbor")
    bead = beads.create("Paint the lighthouse zebrawise", actor="mayor", description="Stripes, not dots.")
    until(lambda: _says(daemon, bead, "zebrawise"), "a new bead is found by its title")
    beads.update(bead, "mayor", title="Paint the lighthouse quaggawise")
    until(lambda: _says(daemon, bead, "quaggawise"), "an edited bead is found by its new title")
    assert not _says(daemon, bead, "zebrawise")
    assert "bead:harbor/" + bead not in {hit["document"] for hit in daemon.search("quaggawise", rig="lantern")}


def test_it_comes_back_when_it_is_killed_and_goes_with_its_daemon(served: SampleTown, daemon: Indexed) -> None:
    daemon.start_ready()
    daemon.wait_until_warm()
    daemon.wait_until_fed()
    before = daemon.documents()
    _kill(daemon)
    until(lambda: _is_up(daemon), "the index answers again")
    assert before == daemon.documents()
    bead = next(iter(beads_in(served, "harbor")))
    assert f"bead:harbor/{bead}" == _first(daemon, bead)
    pid = daemon.index["pid"] if daemon.index else 0
    daemon.kill()
    until(lambda: not psutil.pid_exists(pid), "the index ends with its daemon")


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_it_heals_from_a_kill_a_wipe_and_noise(served: SampleTown, daemon: Indexed) -> None:
    """The process is killed, its vectors are wiped, its files overwritten, all under a running daemon."""
    daemon.start_ready()
    daemon.wait_until_warm()
    daemon.wait_until_whole()
    before = daemon.documents()
    bead = next(iter(beads_in(served, "harbor")))
    for harm in (_kill, _wipe_vectors, _noise_on_vectors, _noise_on_everything):
        harm(daemon)
        until(lambda: _is_up(daemon), "the index answers again")
        daemon.wait_until_whole()
        assert before == daemon.documents(), harm.__name__
        assert f"bead:harbor/{bead}" == _first(daemon, bead)


def test_a_rebuild_makes_the_same_again(served: SampleTown, daemon: Indexed) -> None:
    daemon.start_ready()
    daemon.wait_until_warm()
    daemon.collect_documents()
    daemon.wait_until_calm()
    daemon.wait_until_fed()
    before = daemon.documents()
    generation = daemon.index["generation"] if daemon.index else ""
    from gtftd.control.client import ControlClient
    from gtftd.settings import find_socket

    *_, last = ControlClient(find_socket(daemon.state_dir), timeout_s=60).stream("rag.rebuild", anew=True)
    assert last["finished"] and not last["note"]
    assert before == daemon.documents()
    assert generation != (daemon.index or {})["generation"]


def _says(daemon: Indexed, bead: str, word: str) -> bool:
    """The first hit for the word is of this bead and holds it: by meaning alone anything may be near."""
    hits = daemon.search(word, rig="harbor", limit=1)
    return bool(hits) and hits[0]["document"] == f"bead:harbor/{bead}" and word in hits[0]["text"]


def _first(daemon: Indexed, text: str) -> str | None:
    return next((hit["document"] for hit in daemon.search(text, rig="harbor", limit=1)), None)


def _is_up(daemon: Indexed) -> bool:
    return daemon.rag()["state"] == "ready"


def _kill(daemon: Indexed, harm: Callable[[], None] = lambda: None) -> None:
    """After `harm`, of which it may have died already."""
    assert daemon.index is not None
    pid = daemon.index["pid"]
    harm()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).send_signal(signal.SIGKILL)
    until(lambda: (index := daemon.index) is None or index["pid"] != pid, "it is noticed")


def _wipe_vectors(daemon: Indexed) -> None:
    shutil.rmtree(daemon.state_dir / "rag" / "chroma")
    until(lambda: (daemon.state_dir / "rag" / "chroma").exists(), "the vectors are made anew")


def _noise_on_vectors(daemon: Indexed) -> None:
    _kill(daemon, lambda: _overwrite(daemon.state_dir / "rag" / "chroma"))


def _noise_on_everything(daemon: Indexed) -> None:
    _kill(daemon, lambda: _overwrite(daemon.state_dir / "rag"))


def _overwrite(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(b"\0noise" * 500)
