"""`training.requested` on the bus of a real daemon: once a run, whatever dies in between."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gtftctl import COMMAND
from tests.support.town import until
from tests.support.training import TrainingDesk, training_desk

pytestmark = [pytest.mark.timeout(180), pytest.mark.heavy]


@pytest.fixture
def desk(tmp_path: Path) -> TrainingDesk:
    desk = training_desk(tmp_path)
    desk.behave(steps=20, save_every=5, wait_at=10)
    return desk


def where(desk: TrainingDesk) -> list[str]:
    return ["--town", str(desk.town), "--state-dir", str(desk.state), "--config", str(desk.config)]


@contextmanager
def daemon(desk: TrainingDesk, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "gtftd.programs.daemon", "--no-console", *where(desk)]
    process = subprocess.Popen(command, env=desk.environ | environ, cwd=desk.folder)
    try:
        until(lambda: process.poll() is not None or is_listening(desk), "the daemon listens")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def is_listening(desk: TrainingDesk) -> bool:
    told = ctl(desk, "status", "--json")
    return told.returncode in (0, 1) and bool(told.stdout) and json.loads(told.stdout)["state"] == "running"


def ctl(desk: TrainingDesk, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *words, *where(desk)]
    return subprocess.run(command, env=desk.environ, cwd=desk.folder, capture_output=True, text=True, check=False)


def ask(desk: TrainingDesk, *fields: str) -> None:
    told = ctl(desk, "emit", "training.requested", *fields)
    assert (0, "") == (told.returncode, told.stderr)


def status(desk: TrainingDesk) -> Any:
    return json.loads(ctl(desk, "status", "--json").stdout)["training"]


def reactions(desk: TrainingDesk) -> list[str]:
    with closing(sqlite3.connect(desk.state / "state.db")) as connection:
        sql = "SELECT state FROM reactions WHERE reaction = 'start_requested_training'"
        return [state for (state,) in connection.execute(sql)]


def test_an_event_is_a_run_that_status_and_metrics_tell_of(desk: TrainingDesk) -> None:
    """From the command that publishes it to the registered model."""
    with daemon(desk):
        ask(desk, "role=polecat", 'settings={"optimizer": {"epochs": 1}}', "by=ann", "request=first")
        ask(desk, "role=polecat", 'settings={"optimizer.epochs": 1}', "by=bob", "request=second")
        ask(desk, "role=nobody", "request=third")
        ask(desk, "role=nobody", "request=third")  # every time that it is asked it is answered
        until(lambda: (runs := status(desk)["runs"]) and runs[0]["step"] == 9, "nine steps are made")
        [run] = status(desk)["runs"]
        assert ("polecat", "running", 20, 123.0, "ann") == (
            run["role"], run["stage"], run["steps"], run["tokens_per_s"], run["by"]
        )  # fmt: skip
        assert f"training\n{run['run']}  polecat sft  running  step 9 of 20\n" in ctl(desk, "status").stdout
        metrics = ctl(desk, "metrics").stdout
        assert 'gtftd_training_runs{stage="running"} 1.0' in metrics
        assert 'gtftd_training_step{objective="sft",role="polecat"} 9.0' in metrics
        (desk.run_folder(run["run"]) / "go").touch()
        until(lambda: status(desk)["last"], "it has ended")
        assert ([], "polecat-v1") == (status(desk)["runs"], status(desk)["last"]["model"])
        metrics = ctl(desk, "metrics").stdout
        assert 'gtftd_training_runs_ended_total{objective="sft",result="done",role="polecat"} 1.0' in metrics
        assert 'gtftd_events_published_total{subject="training.accepted"} 2.0' in metrics
        assert 'gtftd_events_published_total{subject="training.refused"} 2.0' in metrics


@pytest.mark.parametrize("point", ["consumer.begun", "consumer.reacted", "consumer.committed"])
def test_killed_in_between_it_is_one_run(desk: TrainingDesk, point: str) -> None:
    """Before the run is there, after it, and before the message is acknowledged."""
    with daemon(desk, GTFTD_CRASH_AT=point) as process:
        ask(desk, "role=polecat", "request=first")
        until(lambda: process.poll() is not None, "the daemon is killed")
    assert -signal.SIGKILL == process.returncode
    with daemon(desk):
        until(lambda: reactions(desk) == ["done"], "the request is answered")
        [run] = status(desk)["runs"]
        (desk.run_folder(run["run"]) / "go").touch()
        until(lambda: status(desk)["last"], "it has ended")
    assert 1 == len(list((desk.state / "runs").glob("*/spec.json")))
