"""`gtftctl train`, typed as an operator types it; what learns is a child that only looks like a training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gtftd.jobs.adopt import lock_holder
from tests.support.registry import facts, registry_in
from tests.support.snapshots import execute
from tests.support.town import until
from tests.support.training import TrainingDesk, add_base, training_desk

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(tmp_path: Path) -> TrainingDesk:
    return training_desk(tmp_path)


def started(desk: TrainingDesk, *words: str) -> subprocess.Popen[str]:
    """In the foreground, and at its first wait."""
    desk.behave(steps=6, save_every=3, wait_at=2)
    process = subprocess.Popen(
        desk.command("--role", "polecat", "--run", "one", *words),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=desk.environ, cwd=desk.folder,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: (desk.run_folder("one") / "waits").exists() or process.poll() is not None, "the child waits")
    assert process.poll() is None, (process.communicate(), desk.logs())
    return process


def go(desk: TrainingDesk) -> None:
    (desk.run_folder("one") / "go").touch()


def rows(desk: TrainingDesk, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(desk.state / "state.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_from_a_snapshot_to_a_registered_adapter(desk: TrainingDesk) -> None:
    """Without a daemon, in the foreground: a job, a run, a model, each once and tied to the others."""
    execute(desk.state, "INSERT INTO conventions VALUES ('CLAUDE.md', 'claude_md', NULL, 0, 'aa')")
    told = desk.well("--role", "polecat", "--run", "one", "--set", "optimizer.learning_rate=1e-4")
    assert "one: done; polecat-v1 is registered" == told.splitlines()[-1]
    registry = registry_in(desk.state)
    model = registry.model("polecat-v1")
    snapshot = next((desk.state / "snapshots").glob("*/manifest.json"))
    manifest = json.loads(snapshot.read_bytes())
    assert (manifest["id"], manifest["root"], "one", 7) == (
        model.snapshot, model.corpus_hash, model.job, model.examples,
    )  # fmt: skip
    assert ({"CLAUDE.md": "aa"}, 16, "tiny") == (model.conventions, model.lora_rank, model.base_model)
    assert manifest["newest_at"] == model.trained_at.timestamp()
    assert {"optimizer.learning_rate": "--set"} == model.training_config["origins"]
    assert 1e-4 == model.training_config["settings"]["optimizer"]["learning_rate"]
    with registry.reading() as reading:
        job = reading.job("one")
    assert ("done", "polecat-v1") == (job.state, job.model)
    states = [fact["state"] for fact in facts(registry) if fact["type"] == "training_job.changed.v1"]
    assert ["corpus-validating", "ready", "training", "evaluating", "done"] == states
    assert "one" == desk.json("show", "on")["run"]
    assert [("one", "done", "polecat-v1", 6)] == [
        (run["run"], run["stage"], run["model"], run["step"]) for run in desk.json("list")
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--role", "policat"], "'policat' is none of "),
        (["--role", "polecat", "--run", "No Name"], "run = 'No Name'"),
        (["--role", "polecat", "--set", "seed=2026-13-45"], "month must be in 1..12"),
        (["--role", "polecat", "--settings", "none.yaml"], "cannot read settings from none.yaml"),
        (["--role", "polecat", "--snapshot", "0123"], "0123"),
        (["--role", "polecat", "--base", "none"], "there is no base 'none' here"),
    ],
)
def test_what_is_typed_wrongly_is_named(desk: TrainingDesk, words: list[str], why: str) -> None:
    told = desk(*words)
    assert (True, True, False) == (told.returncode in (1, 2), why in told.stderr, "Traceback" in told.stderr), told
    assert [] == list((desk.state / "runs").glob("*/spec.json"))


@pytest.mark.heavy
def test_the_same_order_again_is_the_same_run(desk: TrainingDesk) -> None:
    """Another one by that name is refused: who looks at its end would take it for theirs."""
    for _ in range(2):
        desk.well("--role", "polecat", "--run", "one")
    other = desk("--role", "polecat", "--run", "one", "--set", "seed=1")
    assert (1, True) == (other.returncode, "is there already, with other settings" in other.stderr), other
    assert [("polecat-v1",)] == rows(desk, "SELECT name FROM models")
    assert 1 == len((desk.run_folder("one") / "starts.txt").read_text().splitlines())


@pytest.mark.heavy
def test_what_it_says_on_the_way(desk: TrainingDesk) -> None:
    told = desk.well("--role", "polecat", "--run", "one").splitlines()
    assert told[0].startswith("one: sft on tiny, snapshot ")
    assert "one: step 6 of 6, loss 0.3333, held-out 0.5000, 123 tokens/s, done" == told[-2]
    table = [line.split() for line in desk.well("list").splitlines()]
    assert ["one", "polecat", "sft", "done", "6/6", "0.3333", "0.5000", "polecat-v1"] == table[1]
    lines = [json.loads(line) for line in desk.well("watch", "one", "--json").splitlines()]
    assert ["done"] == [line["stage"] for line in lines]


def test_ctrl_c_saves_and_pauses_and_resume_goes_on(desk: TrainingDesk) -> None:
    process = started(desk)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (130, True) == (process.returncode, "train resume one" in out)
    assert ("paused", None) == ((seen := desk.json("show", "one"))["stage"], seen["pid"])
    go(desk)
    assert "one: done; polecat-v1 is registered" in desk.well("resume", "one")
    assert 2 == len((desk.run_folder("one") / "starts.txt").read_text().splitlines())


@pytest.mark.heavy
def test_orders_from_beside_reach_a_run_in_the_foreground(desk: TrainingDesk) -> None:
    process = started(desk)
    assert "one is told to stop" in desk.well("stop", "one")
    out, _ = process.communicate(timeout=60)
    assert (1, True) == (process.returncode, "one: stopped" in out)
    refused = desk("resume", "one")
    assert (1, True) == (refused.returncode, "has ended" in refused.stderr)
    assert [("failed",)] == rows(desk, "SELECT state FROM training_jobs")


@pytest.mark.heavy
def test_a_second_foreground_run_is_told_to_wait(desk: TrainingDesk) -> None:
    process = started(desk)
    refused = desk("--role", "polecat", "--run", "two")
    assert (1, True) == (refused.returncode, "another process supervises" in refused.stderr)
    assert not desk.run_folder("two").exists()
    go(desk)
    process.communicate(timeout=60)
    assert 0 == process.returncode


@pytest.mark.heavy
def test_gtftctl_is_killed_and_the_run_saves_and_stops(desk: TrainingDesk) -> None:
    """Then it is taken up again, and ends once."""
    process = started(desk)
    process.kill()
    process.communicate()
    until(lambda: lock_holder(desk.run_folder("one")) is None, "the child has stopped")
    until(lambda: "another process" not in desk("resume", "one", "--detach").stderr, "the keeper is gone")
    go(desk)
    until(lambda: desk.json("show", "one")["model"], "the run is registered")
    assert [("polecat-v1",)] == rows(desk, "SELECT name FROM models")


@pytest.mark.heavy
def test_everything_is_killed_and_the_run_goes_on(desk: TrainingDesk) -> None:
    desk.behave(steps=6, save_every=3, wait_at=2)
    desk.well("--role", "polecat", "--run", "one", "--detach")
    until(lambda: (desk.run_folder("one") / "waits").exists(), "the child waits")
    keepers = [int(line.split()[0]) for line in _processes("gtftd.programs.train_alone", str(desk.state))]
    child = lock_holder(desk.run_folder("one"))
    assert (1, True) == (len(keepers), child is not None)
    os.kill(keepers[0], signal.SIGKILL)
    os.kill(child or 0, signal.SIGKILL)
    go(desk)
    until(lambda: "another process" not in desk("resume", "one", "--detach").stderr, "the keeper is gone")
    until(lambda: desk.json("show", "one")["model"], "the run is registered")
    assert [("done",)] == rows(desk, "SELECT state FROM training_jobs")


@pytest.mark.heavy
def test_snapshots_that_are_not_ready_or_tainted_are_refused(desk: TrainingDesk) -> None:
    manifest = next((desk.state / "snapshots").glob("*/manifest.json"))
    told = json.loads(manifest.read_bytes()) | {"ready": False, "reasons": [{"gate": "no_test", "why": "no test"}]}
    manifest.write_text(json.dumps(told))
    for snapshot in ("latest", told["id"][:8]):
        refused = desk("--role", "polecat", "--snapshot", snapshot)
        assert (1, True) == (refused.returncode, "no test; --even-if-not-ready insists" in refused.stderr)
    desk.well("--role", "polecat", "--run", "one", "--even-if-not-ready")
    taint = {"at": 0.0, "reason": "a secret", "contents": []}
    (manifest.parent / "tainted.json").write_text(json.dumps(taint))
    refused = desk("--role", "polecat", "--snapshot", told["id"], "--even-if-not-ready")
    assert (1, True) == (refused.returncode, "is tainted: a secret" in refused.stderr)


@pytest.mark.heavy
def test_a_snapshot_that_is_tainted_meanwhile_ends_its_run(desk: TrainingDesk) -> None:
    process = started(desk)
    manifest = next((desk.state / "snapshots").glob("*/manifest.json"))
    (manifest.parent / "tainted.json").write_text(json.dumps({"at": 0.0, "reason": "a secret", "contents": []}))
    out, _ = process.communicate(timeout=60)
    assert (1, True) == (process.returncode, "is tainted" in out)
    assert [] == rows(desk, "SELECT name FROM models")
    assert [("failed",)] == rows(desk, "SELECT state FROM training_jobs")


@pytest.mark.heavy
def test_a_stopped_town_holds_its_runs(desk: TrainingDesk) -> None:
    process = started(desk)
    (desk.town / "ESTOP").write_text("manual")
    until(lambda: lock_holder(desk.run_folder("one")) is None, "the child has stopped")
    go(desk)
    (desk.town / "ESTOP").unlink()
    process.communicate(timeout=60)
    assert (0, [("polecat-v1",)]) == (process.returncode, rows(desk, "SELECT name FROM models"))


@pytest.mark.heavy
def test_a_task_is_stacked_on_its_role_and_goes_on_from_a_model(desk: TrainingDesk) -> None:
    desk.well("--role", "polecat")
    desk.well("--role", "polecat", "--task", "code-review", "--from", "polecat-v1")
    model = registry_in(desk.state).model("code-review-v1")
    assert ("task", "polecat-v1", ("polecat-v1",)) == (model.kind, model.parent, model.compatible_with)
    add_base(desk, "other", b'{"other": 1}')
    refused = desk("--role", "polecat", "--base", "other", "--from", "polecat-v1")
    assert "polecat-v1 has another base, tiny" in refused.stderr


@pytest.mark.heavy
def test_a_formula_of_the_town_says_what_is_trained(desk: TrainingDesk) -> None:
    """By its name; each value says which formula it is of."""
    formulas = desk.town / ".beads" / "formulas"
    formulas.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "examples" / "mol-train-adapter.formula.toml", formulas)
    given = ["--var", "role=polecat", "--var", "lora_rank=4", "--var", "base="]
    assert "polecat-v1 is registered" in desk.well("--formula", "mol-train-adapter", *given, "--run", "one")
    seen = desk.json("show", "one")
    assert (4, 2e-4, "tiny") == (
        seen["settings"]["lora"]["rank"], seen["settings"]["optimizer"]["learning_rate"], seen["base"]
    )  # fmt: skip
    told = desk.well("show", "one")
    assert "lora.rank = 4   (formula mol-train-adapter, --var lora_rank)" in told
    assert "optimizer.learning_rate = 0.0002   (formula mol-train-adapter)" in told
    wrong = desk("--formula", "mol-train-adapter")
    assert (1, True) == (wrong.returncode, "wants role: --var role=" in wrong.stderr)
    assert 2 == desk("--var", "role=polecat").returncode


@pytest.mark.heavy
def test_settings_of_the_role_come_from_the_folder(desk: TrainingDesk) -> None:
    folder = desk.folder / "settings"
    folder.mkdir()
    (folder / "polecat.yaml").write_text("class_name: gtftd.training.Sft\ninit_args:\n  lora: {rank: 4}\n")
    desk.config.write_text(desk.config.read_text() + f'settings_dir = "{folder}"\nthreads = 2\n')
    desk.well("--role", "polecat", "--run", "one", "--set", "seed=3")
    seen = desk.json("show", "one")
    assert (4, 2, 3) == (seen["settings"]["lora"]["rank"], seen["settings"]["threads"], seen["settings"]["seed"])
    assert {
        "lora.rank": f"{folder / 'polecat.yaml'}:3",
        "objective": f"{folder / 'polecat.yaml'}:1",
        "threads": "config",
        "seed": "--set",
        "optimizer.learning_rate": "the default of sft",
    } == seen["origins"]
    assert "lora.rank = 4   (" in desk.well("show", "one")


def _processes(*words: str) -> list[str]:
    told = subprocess.run(["ps", "-eo", "pid,args", "-ww"], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if all(word in line for word in words)]
