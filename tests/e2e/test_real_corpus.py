"""The real exports and documents, collected by a real daemon by the commands of an operator."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gtftctl import COMMAND, Gtftctl
from tests.support.town import Daemon, SampleTown, check_whole, final_state, share_scrub_key

EXPORTS = ("beads-backup-2026-03", "beads-export-2026-02-27", "beads-export-2025-12-22")
QUIET = "[beads]\nenabled = false\n[watch]\nenabled = false\n[sweep]\nenabled = false\n[commits]\nenabled = false\n"
"""The sample town tells nothing of its own: what is stored is what was ordered."""
WENT_AWAY = ("the daemon went away in the middle of", "the daemon hung up before", "no gtftd runs")
Words = tuple[str | Path, ...]


@pytest.fixture(scope="module")
def data() -> Path:
    """In `shared/data` of a folder above the repository."""
    found = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    there = next((folder for folder in found if (folder / "gastown").is_dir()), None)
    if there is None:
        pytest.skip("the real exports are not here")
    return there


def orders(data: Path, exports: tuple[str, ...] = EXPORTS) -> list[Words]:
    """The commands that collect everything."""
    found: list[Words] = [("artifacts", "--from", data / of / "files") for of in ("gastown", "beads")]
    return found + [("operational", "--from", data / "gastown" / export, "--database", "gastown") for export in exports]


@contextlib.contextmanager
def daemon_in(folder: Path, name: str = "state", town: SampleTown | None = None) -> Iterator[Daemon]:
    daemon = Daemon(town or SampleTown(folder), folder / name)
    daemon._config.write_text(QUIET)
    try:
        yield daemon
    finally:
        daemon.end()


def collect(daemon: Daemon, words: Words) -> dict[str, Any]:
    found: dict[str, Any] = Gtftctl(daemon.state_dir).json("corpus", *words)
    assert found["finished"]
    assert found["done"] == found["stored"] + found["unchanged"] + found["skipped"]
    return found


@dataclass(frozen=True)
class Kept:
    """All that a second run must not change: rows, and files with their sums and times."""

    rows: list[tuple[Any, ...]]
    files: dict[str, tuple[str, int]]


def kept(state_dir: Path) -> Kept:
    """Of what was ordered: the town's own documents are collected by the daemon itself, once a day."""
    ours = "SELECT entry_id FROM entries WHERE origin NOT LIKE 'file:%'"
    with contextlib.closing(sqlite3.connect(f"file:{state_dir / 'state.db'}?mode=ro", uri=True)) as connection:
        rows: list[tuple[Any, ...]] = []
        for table in ("entries", "doubts", "entry_texts"):
            sql = f"SELECT * FROM {table} WHERE entry_id IN ({ours}) ORDER BY 1, 2"
            rows += connection.execute(sql).fetchall()
        theirs = {row[0] for row in connection.execute("SELECT sha256 FROM entries WHERE origin LIKE 'file:%'")}
    files = {
        path.relative_to(state_dir).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted((state_dir / "entries").rglob("*"))
        if path.is_file() and path.stem not in theirs
    }
    return Kept(rows, files)


@dataclass
class Collected:
    data: Path
    daemon: Daemon
    orders: list[Words]
    told: list[dict[str, Any]]

    @property
    def gtftctl(self) -> Gtftctl:
        return Gtftctl(self.daemon.state_dir)


@contextlib.contextmanager
def collecting(data: Path, folder: Path, chosen: list[Words]) -> Iterator[Collected]:
    with daemon_in(folder) as daemon:
        daemon.start_ready()
        yield Collected(data, daemon, chosen, [collect(daemon, words) for words in chosen])


@pytest.fixture(scope="module")
def collected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    """The documents of one project, and the export with the most in it."""
    chosen = [orders(data)[0], orders(data)[2]]
    with collecting(data, tmp_path_factory.mktemp("real"), chosen) as run:
        yield run


def closed_beads(data: Path) -> set[str]:
    """By the backup itself, which has full rows."""
    lines = (data / "gastown" / EXPORTS[0] / "issues.jsonl").read_text().splitlines()
    return {issue["id"] for issue in map(json.loads, lines) if issue["status"] == "closed"}


@pytest.mark.timeout(600)
def test_every_order_collects_what_is_there(collected: Collected) -> None:
    check_collected(collected)


def test_every_closed_bead_has_a_label_and_evidence(collected: Collected) -> None:
    check_labels(collected)


def test_labels_against_reasons(collected: Collected) -> None:
    check_table(collected)


@pytest.mark.timeout(600)
def test_a_second_run_changes_nothing(collected: Collected) -> None:
    check_second_run(collected)


def test_what_was_collected_can_be_looked_at(collected: Collected) -> None:
    check_looks(collected)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_all_of_the_real_data(data: Path, tmp_path: Path) -> None:
    """The documents of both projects and three exports of the same beads, each older than the one before."""
    with collecting(data, tmp_path, orders(data)) as run:
        check_collected(run)
        check_labels(run)
        check_table(run)
        check_second_run(run)
        check_looks(run)


def check_collected(collected: Collected) -> None:
    """Each order stores something, and what is stored is whole."""
    for words, told in zip(collected.orders, collected.told, strict=True):
        assert told["stored"] > 0, words
        assert 0 == told["withdrawn"], words
    check_whole(final_state(collected.daemon.state_dir))


def check_labels(collected: Collected) -> None:
    """Every closed bead has one that evidence gave it."""
    sql = "SELECT bead, outcome, sha256 FROM entries WHERE kind = 'operational'"
    rows = {bead: (label, sha256) for bead, label, sha256 in collected.daemon.sql(sql)}
    wanted = closed_beads(collected.data)
    assert len(wanted) > 600
    assert set() == wanted - rows.keys()
    objects = collected.daemon.state_dir / "entries" / "objects"
    for bead in sorted(wanted):
        label, sha256 = rows[bead]
        outcome = json.loads((objects / sha256[:2] / f"{sha256}.json").read_bytes())["outcome"]
        assert label == outcome["label"] != "collected", bead
        assert outcome["evidence"], bead
        assert 0 < outcome["confidence"] <= 1, bead


def check_table(collected: Collected) -> None:
    """For people; its sums are the closed beads, and each has a label."""
    text = collected.gtftctl.well("corpus", "stats", "--labels")
    print(text)
    told = collected.gtftctl.json("corpus", "stats", "--labels")
    counted = sum(sum(row.values()) for row in told["counts"].values())
    assert (told["closed"], 0) == (counted, told["unlabelled"])
    assert told["closed"] >= len(closed_beads(collected.data))
    head, *rows = text.splitlines()
    assert "reason" == head.split()[0]
    assert f"{told['closed']:,}" in rows[-1]


def check_second_run(collected: Collected) -> None:
    """Not a row, not a byte, not even a file's time is another; in whatever order."""
    before = kept(collected.daemon.state_dir)
    for words in reversed(collected.orders):
        told = collect(collected.daemon, words)
        assert (0, 0) == (told["stored"], told["withdrawn"]), words
        assert told["unchanged"] > 0, words
    assert before == kept(collected.daemon.state_dir)


def check_looks(collected: Collected) -> None:
    """As JSON and as text, by the first letters of an id."""
    gtftctl = collected.gtftctl
    listed = gtftctl.json("corpus", "list", "--all")
    (rows,) = collected.daemon.sql("SELECT count(*) FROM entries")[0]
    assert rows == listed["total"] == len(listed["entries"])
    for kind in ("artifact", "operational"):
        row = next(row for row in listed["entries"] if row["kind"] == kind)
        shown = gtftctl.json("corpus", "show", row["entry_id"], "--full")
        explained = gtftctl.json("corpus", "explain", row["entry_id"])
        assert row["entry_id"] == shown["entry_id"] == explained["entry_id"]
        assert row["entry_id"][:8] in gtftctl.well("corpus", "explain", row["entry_id"][:12])
        assert gtftctl.well("corpus", "show", row["entry_id"][:12])
    stats = gtftctl.json("corpus", "stats")
    assert rows == stats["total"]["entries"]
    assert {"artifact", "operational"} == set(stats["by"]["kind"])


# -- killed in the middle


@dataclass(frozen=True)
class End:
    """How a command ended whose daemon was killed."""

    words: Words
    code: int
    said: str


def killed(daemon: Daemon, words: Words, after_s: float) -> End:
    """Give an order, and kill the daemon a moment later."""
    command = [*COMMAND, "corpus", *map(str, words), "--state-dir", str(daemon.state_dir)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=daemon.town.environ
    ) as child:
        time.sleep(after_s)
        daemon.kill()
        _, said = child.communicate(timeout=60)
    return End(words, child.returncode, said)


def check_end(end: End) -> None:
    """Either it was done before, or one line says what happened."""
    if end.code:
        assert end.code in {1, 3}, end
        assert 1 == len(end.said.splitlines()), end
        assert any(words in end.said for words in WENT_AWAY), end
    else:
        assert "" == end.said, end


def contents(daemon: Daemon) -> dict[str, str]:
    """Sums of the entries that were ordered, by id."""
    return dict(daemon.sql("SELECT entry_id, sha256 FROM entries WHERE origin NOT LIKE 'file:%'"))


def kill_often(data: Path, folder: Path, chosen: list[Words], kills: int, *, seed: int) -> list[End]:
    """A daemon that is killed while it obeys ends with the entries of one that was left in peace."""
    town = SampleTown(folder)
    share_scrub_key(folder / "harmed", folder / "peaceful")
    chance = random.Random(seed)
    with daemon_in(folder, "peaceful", town) as peaceful:
        peaceful.start_ready()
        for words in chosen:
            collect(peaceful, words)
        assert peaceful.stop() == 0
    ends = []
    with daemon_in(folder, "harmed", town) as harmed:
        harmed.start_ready()
        for number in range(kills):
            words: Words = ("audit", "--all") if number % 4 == 3 else chosen[number % len(chosen)]
            ends.append(killed(harmed, words, chance.uniform(0.4, 4)))
            check_end(ends[-1])
            harmed.start_ready()
            check_whole(final_state(harmed.state_dir))
        for words in chosen:
            collect(harmed, words)
        assert harmed.stop() == 0
    wanted, found = contents(peaceful), contents(harmed)
    assert wanted.keys() == found.keys()
    assert wanted == found
    check_whole(final_state(folder / "harmed"))
    return ends


@pytest.mark.timeout(900)
def test_killed_thrice_while_it_collects(data: Path, tmp_path: Path) -> None:
    """No orphan and no hole after each start; at least one of the kills came in the middle of an order."""
    chosen = [orders(data)[0], orders(data)[2]]
    ends = kill_often(data, tmp_path, chosen, 3, seed=5)
    assert any(end.code for end in ends), ends


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_killed_often_while_it_collects(data: Path, tmp_path: Path) -> None:
    chosen = orders(data, EXPORTS[:2])
    ends = kill_often(data, tmp_path, chosen, 24, seed=6)
    assert sum(end.code != 0 for end in ends) >= 8, ends
