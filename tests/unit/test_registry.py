"""The registry: versions are given once, decisions are whole, and there is a way back."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.errors import Conflict, Corrupt, Invalid, Missing, Refused
from gtftd.registry import lifecycle
from gtftd.registry.comparison import differing, flips
from gtftd.registry.registry import Registry, read_registry
from gtftd.schemas.registry import EvalItem, Evaluation, ModelEntry, Score, Status
from gtftd.state.database import migrate
from tests.support.registry import AT, adapter, candidate, facts, registered, registry_in

STATUS = st.sampled_from(lifecycle.STATUSES)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_in(tmp_path / "state")


def status_of(registry: Registry, name: str) -> str:
    return registry.model(name).deployment_status


@given(STATUS, STATUS)
def test_a_status_follows_another_or_is_refused(before: Status, after: Status) -> None:
    if after in lifecycle.following(before):
        lifecycle.check("deacon-v1", before, after)
    else:
        with pytest.raises(Refused, match=f"deacon-v1 is {before} and cannot become {after}"):
            lifecycle.check("deacon-v1", before, after)


def test_everything_can_be_flagged_and_tainted_and_nothing_comes_back_from_a_taint() -> None:
    assert frozenset() == lifecycle.following("tainted")
    for status in set(lifecycle.STATUSES) - {"tainted"}:
        assert "tainted" in lifecycle.following(status)
    assert all(lifecycle.following(status) <= set(lifecycle.STATUSES) for status in lifecycle.STATUSES)


@given(st.lists(STATUS, max_size=12))
def test_what_was_held_or_flagged_after_its_gate_has_not_passed(history: list[Status]) -> None:
    last_no = max(
        (at for at, status in enumerate(history) if status in {"held", "flagged", "tainted", "registered"}), default=-1
    )
    assert any(status in {"gated", "active"} for status in history[last_no + 1 :]) == lifecycle.has_passed(history)


def test_versions_count_by_series_and_the_same_artifact_is_the_same_version(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(adapter(tmp_path / "a", 1), candidate(), "me")
    again = registry.register(adapter(tmp_path / "a", 1), candidate(), "me")
    second = registry.register(adapter(tmp_path / "b", 2), candidate(), "me")
    other = registry.register(adapter(tmp_path / "c", 3), candidate("witness"), "me")
    assert ("deacon-v1", "deacon-v1", "deacon-v2", "witness-v1") == (first.name, again.name, second.name, other.name)
    assert ["model.registered.v1"] * 3 == [fact["type"] for fact in facts(registry)]


def test_a_task_adapter_and_a_model_never_share_a_name(registry: Registry, tmp_path: Path) -> None:
    registry.register(adapter(tmp_path / "a", 1), candidate("planning", kind="task"), "me")
    with pytest.raises(Conflict, match="planning-v1 is there already"):
        registry.register(adapter(tmp_path / "b", 2), candidate("planning"), "me")


def test_what_is_stacked_must_have_the_same_base(registry: Registry, tmp_path: Path) -> None:
    registered(registry, tmp_path, 1, "planning", kind="task", base_digest="d" * 64)
    with pytest.raises(Invalid, match="another base model"):
        registry.register(adapter(tmp_path / "m", 2), candidate(lora_adapters=("planning-v1",)), "me")
    with pytest.raises(Missing, match="there is no model 'deacon-v7'"):
        registry.register(adapter(tmp_path / "m", 3), candidate(parent="deacon-v7"), "me")
    assert ["planning-v1"] == names(registry)


def test_only_what_passed_its_gate_is_deployed(registry: Registry, tmp_path: Path) -> None:
    """A new one is not, nor one that was archived or flagged without ever passing."""
    name = registry.register(adapter(tmp_path / "a", 1), candidate(), "me").name
    with pytest.raises(Refused, match="is registered"):
        registry.deploy(name, "", "me", "")
    with registry.change("me") as changes:
        changes.move(name, "archived")
    with pytest.raises(Refused, match="has not passed its gate"):
        registry.deploy(name, "", "me", "")
    assert "archived" == status_of(registry, name)


def test_deploying_archives_what_served_there_and_says_so_once(registry: Registry, tmp_path: Path) -> None:
    first, second = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2)
    registry.deploy(first, "", "me", "the first, password hunter2")
    registry.deploy(second, "", "me", "better")
    assert [] == registry.deploy(second, "", "me", "again")
    assert ("archived", "active") == (status_of(registry, first), status_of(registry, second))
    assert ("town",) == registry.model("deacon@active").deployed_to
    told = [fact for fact in facts(registry) if fact["type"] == "deployment.decided.v1"]
    assert [(first, None), (second, first)] == [(fact["model"], fact["previous"]) for fact in told]
    assert "the first, password <PASSWORD>" == told[0]["why"]
    with registry.reading() as reading:
        assert "the first, password <PASSWORD>" == reading.deployments()[0].why


def test_a_model_that_serves_elsewhere_stays_active(registry: Registry, tmp_path: Path) -> None:
    first, second = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2)
    registry.deploy(first, "", "me", "")
    registry.deploy(first, "harbor", "me", "")
    registry.deploy(second, "", "me", "")
    assert ("active", ("harbor",)) == (status_of(registry, first), registry.model(first).deployed_to)
    with registry.change("me") as changes:
        changes.withdraw("deacon", "harbor")
    assert "archived" == status_of(registry, first)


def test_rollbacks_lead_back_one_after_the_other_and_at_last_to_none(registry: Registry, tmp_path: Path) -> None:
    """And never back and forth; a flagged model is left out."""
    made = [registered(registry, tmp_path, seed) for seed in (1, 2, 3, 4)]
    for name in made:
        registry.deploy(name, "", "me", "")
    with registry.change("me") as changes:
        changes.move(made[2], "flagged")
    served = []
    for _ in range(3):
        with registry.change("me") as changes:
            served.append(changes.rollback("deacon", "").model)
    assert [made[1], made[0], None] == served
    with pytest.raises(Refused, match="nothing to roll back"), registry.change("me") as changes:
        changes.rollback("deacon", "")


def test_after_a_rollback_the_way_goes_on_from_there(registry: Registry, tmp_path: Path) -> None:
    one, two, three = (registered(registry, tmp_path, seed) for seed in (1, 2, 3))
    for name in (one, two):
        registry.deploy(name, "", "me", "")
    with registry.change("me") as changes:
        changes.rollback("deacon", "")
    registry.deploy(three, "", "me", "")
    with registry.change("me") as changes:
        assert one == changes.rollback("deacon", "").model
    with registry.change("me") as changes:
        assert two == changes.rollback("deacon", "", to=two).model


def test_a_model_that_serves_cannot_be_held_but_can_be_tainted(registry: Registry, tmp_path: Path) -> None:
    first, second = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2)
    registry.deploy(first, "", "me", "")
    registry.deploy(second, "", "me", "")
    with pytest.raises(Refused, match="roll it back first"), registry.change("me") as changes:
        changes.move(second, "flagged")
    with registry.change("me", "made of a secret") as changes:
        changes.taint(second)
    assert ("active", "tainted") == (status_of(registry, first), status_of(registry, second))
    with pytest.raises(Refused, match="is tainted"):
        registry.deploy(second, "", "me", "")


def test_what_learned_from_a_tainted_snapshot_is_taken_back_all_the_way_down(
    registry: Registry, tmp_path: Path
) -> None:
    """And no rollback leads to one that is tainted with it; twice changes nothing."""
    clean = registered(registry, tmp_path, 1, snapshot="clean")
    bad = registered(registry, tmp_path, 2, snapshot="bad")
    child = registered(registry, tmp_path, 3, snapshot="clean", parent=bad)
    for name in (clean, bad, child):
        registry.deploy(name, "", "me", "")
    with registry.change("me") as changes:
        assert {bad, child} == set(changes.taint_made_of(["bad"]))
    assert ["tainted", "tainted", "active"] == [status_of(registry, name) for name in (child, bad, clean)]
    with registry.change("me") as changes:
        assert [] == changes.taint_made_of(["bad"])
    assert clean == registry.model("deacon@active").name


def test_an_altered_artifact_is_not_deployed(registry: Registry, tmp_path: Path) -> None:
    name = registered(registry, tmp_path, 1)
    file = Path(str(registry.model(name).artifact_path)) / "adapter_model.safetensors"
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(Corrupt):
        registry.deploy(name, "", "me", "")
    assert "gated" == status_of(registry, name)


def test_pruning_leaves_tombstones_and_what_is_needed(registry: Registry, tmp_path: Path) -> None:
    """What serves, what a rollback leads to, what has a name and the newest stay; a pruned one is not deployed."""
    made = [registered(registry, tmp_path, seed) for seed in range(1, 8)]
    registry.deploy(made[0], "", "me", "")
    registry.deploy(made[1], "", "me", "")
    with registry.change("me") as changes:
        changes.tag(made[2], "best")
    pruned = registry.prune("deacon", 2, "me", "space")
    assert {made[3], made[4]} == set(pruned.models)
    assert pruned.freed_bytes > 0
    gone = registry.model(made[3])
    assert (None, "gated", "a" * 64) == (gone.artifact_path, gone.deployment_status, gone.base_digest)
    with registry.reading() as reading:
        assert ("base", "a" * 64) in reading.sources(made[3])
    with pytest.raises(Refused, match="was pruned"):
        registry.deploy(made[3], "", "me", "")
    assert () == registry.prune("deacon", 2, "me", "").models
    assert registry.register(adapter(tmp_path / f"made-deacon-{4}", 4), candidate(), "me").artifact_path is not None


def test_a_model_on_which_a_task_is_stacked_is_kept(registry: Registry, tmp_path: Path) -> None:
    made = [registered(registry, tmp_path, seed) for seed in (1, 2, 3)]
    task = candidate("planning", kind="task", parent=made[0])
    registry.register(adapter(tmp_path / "task", 4), task, "me")
    assert (made[1],) == registry.prune("deacon", 1, "me", "").models


def test_an_artifact_that_another_model_has_is_kept(registry: Registry, tmp_path: Path) -> None:
    made = [registered(registry, tmp_path, seed) for seed in (1, 2)]
    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        connection.execute("UPDATE models SET artifact = (SELECT artifact FROM models WHERE name = ?)", (made[1],))
        connection.commit()
    registry.prune(None, 1, "me", "")
    assert registry.model(made[1]).artifact_path is not None


def test_examinations_are_kept_with_their_intervals_and_flips(registry: Registry, tmp_path: Path) -> None:
    first = registered(registry, tmp_path, 1, training_config={"sft": {"learning_rate": 1e-4}})
    second = registered(registry, tmp_path, 2, training_config={"sft": {"learning_rate": 2e-4}})
    with registry.change("me") as changes:
        for number, (name, passed) in enumerate(((first, "ab"), (second, "bc"))):
            items = tuple(EvalItem(item=item, category="git", passed=item in passed) for item in "abcd")
            score = Score(score=0.5, n=4, low=0.1, high=0.9)
            evaluation = Evaluation(
                id=f"e{number}", model=name, suite="s", at=AT, scores={"": score, "git": score}, items=items
            )
            changes.evaluate(evaluation)
            changes.evaluate(evaluation)
    with registry.reading() as reading:
        flipped = flips(reading.evaluations(first), reading.evaluations(second))
    assert flipped is not None
    assert (("c",), ("a",), 2) == (flipped.gained, flipped.lost, flipped.same)
    models = [registry.model(first), registry.model(second)]
    assert {"sft.learning_rate": (1e-4, 2e-4)} == differing(models)
    assert (0.5, 0.1) == (models[0].eval_score, models[0].eval_scores_by_category["git"].low)
    assert 2 == [fact["type"] for fact in facts(registry)].count("model.evaluated.v1")


def test_the_journal_tells_whom_a_model_serves_and_how_good_it_is(registry: Registry, tmp_path: Path) -> None:
    """Of the model that comes and of the one that goes; of one that lost its bytes too."""
    first, second = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2)
    with registry.change("me") as changes:
        score = Score(score=0.5, n=4, low=0.1, high=0.9)
        changes.evaluate(Evaluation(id="e", model=first, suite="s", at=AT, scores={"": score, "git": score}))
    registry.deploy(first, "", "me", "")
    registry.deploy(first, "harbor", "me", "")
    told = last_told(registry)[first]
    assert (["harbor", "town"], "active") == (json.loads(told["deployed_to"]), told["deployment_status"])
    assert {"score": 0.5, "n": 4, "low": 0.1, "high": 0.9} == json.loads(told["eval_scores_by_category"])["git"]
    registry.deploy(second, "", "me", "")
    assert ['["harbor"]', '["town"]'] == [last_told(registry)[name]["deployed_to"] for name in (first, second)]
    third = registered(registry, tmp_path, 3)
    assert f"models/{registry.model(third).artifact}" == last_told(registry)[third]["artifact_path"]
    registry.prune(None, 0, "me", "")
    assert last_told(registry)[third]["artifact_path"] is None


def last_told(registry: Registry) -> dict[str, dict[str, str]]:
    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        rows = connection.execute(
            "SELECT key, row FROM records_journal WHERE table_name = 'model_registry' ORDER BY seq"
        )
        return {key: json.loads(row) for key, row in rows}


def test_names_lead_to_models(registry: Registry, tmp_path: Path) -> None:
    first, second = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2)
    with registry.change("me") as changes:
        changes.tag(first, "best")
        with pytest.raises(Refused, match="'active' is not given by hand"):
            changes.tag(first, "active")
    assert (first, second) == (registry.model("deacon@best").name, registry.model("deacon@latest").name)
    with registry.change("me") as changes:
        changes.untag("deacon", "best")
    with pytest.raises(Missing):
        registry.model("deacon@best")


def test_a_dry_run_says_all_and_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    name = registered(registry, tmp_path, 1)
    before = facts(registry)
    assert 2 == len(registry.deploy(name, "", "me", "", dry_run=True))
    assert ("gated", before) == (status_of(registry, name), facts(registry))


def test_two_at_once_take_turns(tmp_path: Path) -> None:
    """Many registrations and deployments from many hands: versions without gaps, one that serves."""
    state = tmp_path / "state"
    registry_in(state)
    migrate(state / "state.db")

    def work(seed: int) -> str:
        name = registered(registry_in(state), tmp_path / str(seed), seed)
        registry_in(state).deploy(name, "", "me", "")
        return name

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(work, range(16)))
    registry = registry_in(state)
    assert {f"deacon-v{number}" for number in range(1, 17)} == set(made)
    assert 1 == sum(model.deployment_status == "active" for model in all_of(registry))
    told = [fact for fact in facts(registry) if fact["type"] == "deployment.decided.v1"]
    assert [None, *(fact["model"] for fact in told[:-1])] == [fact["previous"] for fact in told]


def test_a_state_of_a_newer_gtftd_is_refused(registry: Registry, tmp_path: Path) -> None:
    registered(registry, tmp_path, 1)
    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Refused, match="written by a newer gtftd"):
        registry.model("deacon-v1")
    with pytest.raises(Refused, match="written by a newer gtftd"), registry.change("me"):
        pass


def test_a_state_of_before_the_registry_is_migrated_by_the_first_change(tmp_path: Path) -> None:
    """Looking alone says so and writes nothing; what was stored before is kept."""
    registry = registry_in(tmp_path / "state")
    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        for file in sorted((Path(lifecycle.__file__).parents[1] / "state/migrations").glob("000[1-6]*.sql")):
            connection.executescript(file.read_text())
        connection.execute("PRAGMA user_version = 6")
        connection.execute("INSERT INTO cursors (name, value) VALUES ('kept', '{}')")
        connection.commit()
    with pytest.raises(Missing, match="before there was a registry"), read_registry(registry.database, tmp_path):
        pass
    assert "deacon-v1" == registered(registry, tmp_path, 1)
    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        assert [("kept",)] == connection.execute("SELECT name FROM cursors").fetchall()


def names(registry: Registry) -> list[str]:
    return [model.name for model in all_of(registry)]


def all_of(registry: Registry) -> list[ModelEntry]:
    with registry.reading() as reading:
        return reading.models()
