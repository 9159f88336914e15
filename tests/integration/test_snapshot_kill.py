"""A builder that is killed: nothing or all, and the next build ends the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.corpus.snapshot import build_snapshot, list_snapshots, taint, verify
from gtftd.schemas.corpus import Message
from gtftd.settings import load_settings
from tests.support.snapshots import ask, entry, fill, say, settings

POINTS = ("snapshot.linked", "snapshot.measured", "snapshot.split", "snapshot.written", "file.synced",
          "snapshot.manifest", "snapshot.renamed")  # fmt: skip


TAINT = """
import sys, pathlib
from gtftd.corpus.snapshot import taint
taint(pathlib.Path(sys.argv[1]), [sys.argv[2]], "audit")
"""


def build_in_child(state: Path, config: Path, at: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"GTFTD_CRASH_AT": at}
    command = [sys.executable, "-P", "-m", "gtftd.programs.snapshot", str(state), "--config", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=60)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    easy = "min_supervised_tokens = 1\nmin_role_entries = 1\nsource_cap = 1.0\nnew_source_cap = 1.0\n"
    path.write_text(f'[sharing]\nrigs = ["gastown"]\n[snapshots]\n{easy}')
    return path


def test_the_program_tells_the_manifest(tmp_path: Path, config: Path) -> None:
    """One line of JSON for each stage, the manifest last; 3 when it is not ready, 1 when there is none."""
    fill(tmp_path / "state", [entry(number) for number in range(12)])
    done = build_in_child(tmp_path / "state", config)
    assert (0, "") == (done.returncode, done.stderr)
    assert json.loads(done.stdout.splitlines()[-1])["ready"]
    config.write_text('[sharing]\nrigs = ["gastown"]\n')
    assert 3 == build_in_child(tmp_path / "state", config).returncode
    nowhere = build_in_child(tmp_path / "nowhere", config)
    assert (1, True) == (nowhere.returncode, "has one ever run" in nowhere.stderr)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_build_leaves_nothing_or_all(tmp_path: Path, config: Path, point: str) -> None:
    """What there is, is whole; the next build makes the same snapshot as one that was never killed."""
    prime = Message(role="system", kind="meta", content="# Rules\n" + say("prime", 400))
    entries = [entry(number, messages=(prime, *entry(number).messages)) for number in range(12)]
    entries.append(entry(20, outcome=entries[0].outcome.model_copy(update={"confidence": 0.5}), messages=(ask("x"),)))
    for name in ("killed", "calm"):
        fill(tmp_path / name, entries)
    killed = build_in_child(tmp_path / "killed", config, point)
    assert -signal.SIGKILL == killed.returncode
    assert all(verify(tmp_path / "killed", row.id).is_whole for row in list_snapshots(tmp_path / "killed"))
    assert (point == "snapshot.renamed") == bool(list_snapshots(tmp_path / "killed"))
    ids = [build_snapshot(tmp_path / name, load_settings(config)).id for name in ("killed", "calm")]
    assert ids[0] == ids[1]
    assert verify(tmp_path / "killed", ids[0]).is_whole
    assert files_of(tmp_path / "calm") == files_of(tmp_path / "killed")


def test_what_a_killed_build_linked_is_let_go(tmp_path: Path, config: Path) -> None:
    """Contents that the corpus replaced before the next build are held by nobody."""
    state = tmp_path / "state"
    fill(state, [entry(number) for number in range(4)])
    assert -signal.SIGKILL == build_in_child(state, config, "snapshot.measured").returncode
    fill(state, [entry(number, title="again") for number in range(4)])
    build_snapshot(state, settings("gastown"))
    held = {path.stem for path in (state / "snapshots" / "objects").glob("*/*.json")}
    assert held == {path.stem for path in (state / "entries" / "objects").glob("*/*.json")}


def test_a_killed_taint_is_ended_by_the_next(tmp_path: Path) -> None:
    """The mark comes first, so that nobody reads what is half removed."""
    digests = fill(tmp_path, [entry(1), entry(2)])
    manifest = build_snapshot(tmp_path, settings("gastown"))
    child = subprocess.run(
        [sys.executable, "-P", "-c", TAINT, str(tmp_path), digests["e00001"]],
        check=False, env=os.environ | {"GTFTD_CRASH_AT": "taint.marked"}, timeout=60,
    )  # fmt: skip
    assert -signal.SIGKILL == child.returncode
    assert [True] == [row.tainted for row in list_snapshots(tmp_path)]
    assert [manifest.id] == taint(tmp_path, [digests["e00001"]], "audit")
    assert not list((tmp_path / "snapshots" / "objects").glob(f"*/{digests['e00001']}*"))


def files_of(state: Path) -> set[str]:
    """Everything below `snapshots/` that is meant to last, by path."""
    folder = state / "snapshots"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("features.db", "splits.db"))}
