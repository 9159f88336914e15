"""Adapters for a task: on which model they are stacked, and what they learn from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gtftd.corpus.snapshot import build_snapshot
from gtftd.errors import Invalid, Missing
from gtftd.programs.train_rows import chosen_rows
from gtftd.programs.training import Trainings
from gtftd.schemas.training_orders import TrainOrder
from tests.integration.test_jobs_training import run_of, trainings_of
from tests.integration.test_train_for_real import QUICK, typed
from tests.support.registry import registry_in
from tests.support.snapshots import act, ask, entry, execute, fill, say, settings
from tests.support.tiny_base import tiny_base
from tests.support.training import TrainingDesk, add_base, training_desk
from tests.support.training_data import spec

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingDesk:
    desk = training_desk(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("XDG_", "GTFTD_"))]:
        monkeypatch.delenv(name)
    return desk


async def trained(desk: TrainingDesk, trainings: Trainings, **order: Any) -> None:
    await trainings.start(TrainOrder.model_validate({"run": "one"} | order))
    await trainings_of(desk).run(until_idle=True)


async def test_without_a_word_it_is_stacked_on_what_serves_the_role(desk: TrainingDesk) -> None:
    """Else on the newest; another base's, and what is flagged or pruned, is passed over."""
    await trained(desk, trainings_of(desk), role="polecat", run="one")
    await trained(desk, trainings_of(desk), role="polecat", run="two", settings={"seed": 2})
    task = {"role": "git-workflow", "kind": "task", "stacked_on": "polecat"}

    async def parent(run: str) -> str | None:
        await trainings_of(desk).start(TrainOrder.model_validate(task | {"run": run}))
        made = run_of(desk, run).spec()
        assert made.adapter is not None
        assert str(registry_in(desk.state).model(str(made.parent)).artifact_path) == made.adapter
        return made.parent

    assert "polecat-v2" == await parent("newest")
    execute(desk.state, "UPDATE models SET status = 'active' WHERE name = 'polecat-v1'")
    assert "polecat-v1" == await parent("active")
    execute(desk.state, "UPDATE models SET status = 'flagged' WHERE name = 'polecat-v1'")
    assert "polecat-v2" == await parent("flagged")
    await trainings_of(desk).run(until_idle=True)
    model = registry_in(desk.state).model("git-workflow-v1")
    assert ("task", "polecat-v2", ("polecat-v2",)) == (model.kind, model.parent, model.compatible_with)
    add_base(desk, "other", b'{"other": 1}')
    with pytest.raises(Missing, match="polecat has no model on this base"):
        await trainings_of(desk).start(TrainOrder.model_validate(task | {"base": "other"}))


async def test_what_cannot_be_stacked_is_refused(desk: TrainingDesk) -> None:
    """A task that nobody knows; a model of another role or kind."""
    await trained(desk, trainings_of(desk), role="polecat")
    await trained(desk, trainings_of(desk), role="planning", kind="task", stacked_on="polecat", run="two")
    parent = {"parent": "planning-v1"}
    for order, why in (
        ({"role": "poetry", "kind": "task"}, "there is no task 'poetry'; there are implementation, bead-creation"),
        (
            {"role": "planning", "kind": "task", "stacked_on": "polecat"} | parent,
            "a model of polecat, and planning-v1 is",
        ),
        ({"role": "planning", "kind": "task"} | parent, "is stacked on the model of a role, and planning-v1 is none"),
        ({"role": "polecat"} | parent, "a role does not go on from one"),
    ):
        with pytest.raises(Invalid) as told:
            await trainings_of(desk).start(TrainOrder.model_validate({"run": "three"} | order))
        assert why in str(told.value)


def test_a_run_learns_what_is_of_its_role_and_of_its_task(tmp_path: Path) -> None:
    """Of a snapshot of all roles the role's entries; of a task its entries, and its turns in others."""
    turns = (
        ask(say("q", 12)),
        act(say("g1"), task="git-workflow"),
        act(say("p1")),
        act(say("g2"), task="git-workflow"),
    )
    fill(
        tmp_path,
        [
            entry(1, role="deacon", actor="deacon", rig=None, task="patrol", messages=turns),
            entry(2, role="deacon", actor="deacon", rig=None, task="git-workflow"),
            entry(3, task="git-workflow"),
            entry(4, task="implementation"),
        ],
    )
    easy = {"source_cap": 1, "new_source_cap": 1, "test_fraction": 0.01}
    snapshot = build_snapshot(tmp_path, settings("gastown", **easy)).id
    known: Any = spec(tmp_path, snapshot, tmp_path)

    def learned(**of: Any) -> dict[str, int]:
        from gtftd.corpus.snapshot import export

        rows = chosen_rows(known.model_copy(update=of), export(tmp_path, snapshot, "chat", split=None))
        found: Any = {str(row["entry_id"]): row["messages"] for row in rows}
        return {name: sum(turn["train"] for turn in found[name]) for name in sorted(found)}

    assert {"e00003": 1, "e00004": 1} == learned(role="polecat")
    assert {"e00001": 3, "e00002": 1} == learned(role="deacon")
    task = {"kind": "task", "role": "git-workflow"}
    assert {"e00001": 2, "e00002": 1} == learned(**task, stacked_on="deacon")
    assert {"e00001": 2, "e00002": 1, "e00003": 1} == learned(**task)
    assert {} == learned(kind="task", role="planning", stacked_on="deacon")


@pytest.mark.heavy
def test_a_task_is_trained_for_real_over_its_role(desk: TrainingDesk) -> None:
    """The role's adapter is in the model while the task's is learned: its first loss is the role's, not the base's."""
    desk.config.write_text('[training]\nbase = "small"\n')
    typed(desk, "base", "add", "small", "--from", str(tiny_base(desk.folder / "small")))
    told = [word for one in (*QUICK, "audit.canaries=0", "optimizer.learning_rate=0.01") for word in ("--set", one)]
    fill(desk.state, [entry(number, task="git-workflow" if number % 2 else "implementation") for number in range(24)])
    easy = {"source_cap": 1, "new_source_cap": 1, "test_fraction": 0.3}
    build_snapshot(desk.state, settings("gastown", **easy), role="polecat", rig="gastown")
    typed(desk, "train", "--role", "polecat", *told)
    typed(desk, "train", "--role", "polecat", "--task", "git-workflow", *told, "--run", "over")
    typed(desk, "train", "--task", "git-workflow", "--snapshot", run_of(desk, "over").spec().snapshot, *told)
    over, alone = (json.loads(typed(desk, "model", "show", f"git-workflow-v{version}", "--json")) for version in (1, 2))
    assert ("polecat-v1", ["polecat-v1"], None, []) == (
        over["parent"], over["compatible_with"], alone["parent"], alone["compatible_with"]
    )  # fmt: skip
    first = [model["training_config"]["result"]["first_loss"] for model in (over, alone)]
    assert first[0] < first[1]
