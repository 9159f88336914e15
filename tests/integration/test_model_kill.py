"""`gtftctl model` killed at every named point: the registry is consistent after, and the same command ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support.gtftctl import COMMAND
from tests.support.registry import adapter, candidate, facts, registered, registry_in

POINTS = {
    "register": ("artifact.copied", "artifact.signed", "artifact.renamed", "registry.stored", "registry.before_commit",
                 "registry.committed"),
    "deploy": ("registry.before_commit", "registry.committed"),
    "rollback": ("registry.before_commit", "registry.committed"),
    "prune": ("registry.before_commit", "registry.committed", "registry.pruned", "artifact.set_aside"),
}  # fmt: skip


class Desk:
    """Three models that passed, two of which have served; the files for a fourth."""

    def __init__(self, folder: Path, sample: Path) -> None:
        self.state = folder / "state"
        self.town = sample
        self.registry = registry_in(self.state)
        for seed in (1, 2, 3):
            registered(self.registry, folder, seed)
        for name in ("deacon-v1", "deacon-v2"):
            self.registry.deploy(name, "", "test", "")
        self.source = adapter(folder / "fourth", 4)
        self.about = folder / "about.json"
        self.about.write_text(candidate().model_dump_json())

    def words(self, command: str) -> list[str]:
        given = {
            "register": ["register", str(self.source), "--about", str(self.about)],
            "deploy": ["deploy", "deacon-v3"],
            "rollback": ["rollback", "deacon", "--to", "deacon-v1"],
            "prune": ["prune", "--keep", "0", "--yes"],
        }
        return ["model", *given[command], "--town", str(self.town), "--state-dir", str(self.state)]

    def run(self, command: str, crash_at: str = "") -> int:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
        environ |= {"GTFTD_CRASH_AT": crash_at, "HOME": str(self.state.parent)}
        ended = subprocess.run(
            [*COMMAND, *self.words(command)], env=environ, capture_output=True, check=False, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ended.returncode in (0, 1, -signal.SIGKILL), ended.stderr
        return ended.returncode

    def check(self) -> None:
        """Every model that is not pruned is whole, one serves at most, and every row has its fact."""
        self.registry.tidy()
        with self.registry.reading() as reading:
            models = reading.models()
            for model in models:
                if model.artifact_path is not None:
                    assert () == self.registry.verify(model.artifact)
            assert sum(model.deployment_status == "active" for model in models) <= 1
            told = facts(self.registry)
            decided = [one.id for one in reading.deployments()]
        assert decided == [fact["deployment"] for fact in told if fact["type"] == "deployment.decided.v1"]
        registered_ = [fact["model"] for fact in told if fact["type"] == "model.registered.v1"]
        assert sorted(model.name for model in models) == sorted(str(name) for name in registered_)
        stored = {model.artifact for model in models if model.artifact_path is not None}
        there = {path.name for path in (self.state / "models").iterdir() if len(path.name) == 64}
        assert stored <= there

    def outcome(self) -> object:
        with self.registry.reading() as reading:
            return [(one.name, one.deployment_status, one.artifact_path is None) for one in reading.models()]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = tmp_path_factory.mktemp("town") / "town"
    (town / "mayor").mkdir(parents=True)
    (town / "mayor/town.json").write_text(json.dumps({"type": "town", "version": 2, "name": "sample"}))
    (town / "mayor/rigs.json").write_text(json.dumps({"version": 1, "rigs": {}}))
    return town


@pytest.mark.parametrize(
    ("command", "point"), [(command, point) for command, points in POINTS.items() for point in points]
)
def test_killed_at_every_point(command: str, point: str, tmp_path: Path, sample: Path) -> None:
    unharmed, harmed = Desk(tmp_path / "unharmed", sample), Desk(tmp_path / "harmed", sample)
    assert 0 == unharmed.run(command)
    assert -signal.SIGKILL == harmed.run(command, point)
    harmed.check()
    harmed.run(command)  # a rollback or a pruning that was committed has nothing more to do, and says so
    harmed.check()
    assert unharmed.outcome() == harmed.outcome()
    with contextlib.closing(sqlite3.connect(harmed.registry.database)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
