"""`gtftctl model`, `gt-model` and `shell-init`, typed as an operator types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.schemas.registry import EvalItem, Evaluation, Score
from tests.support.gtftctl import COMMAND, Gtftctl
from tests.support.registry import AT, adapter, candidate

LIGHT = """
import sys
from gtftd.ctl import model_quick
assert model_quick.run_quickly(sys.argv[1:])
heavy = {"pydantic", "typer", "rich", "click", "asyncio", "chromadb", "numpy", "cryptography", "structlog"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


class Desk:
    """A town with a rig `harbor`, and a state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.town = folder / "town"
        (self.town / "mayor").mkdir(parents=True)
        (self.town / "mayor/town.json").write_text(json.dumps({"type": "town", "version": 2, "name": "sample"}))
        rig = {"git_url": "file:///nowhere", "added_at": "2026-01-01T00:00:00Z", "beads": {"prefix": "hb"}}
        (self.town / "mayor/rigs.json").write_text(json.dumps({"version": 1, "rigs": {"harbor": rig}}))
        (self.town / "harbor").mkdir()
        self.state = folder / "state"
        self.state.mkdir()
        self.run = Gtftctl(self.state)

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run(*words, "--town", self.town)

    def well(self, *words: str | Path) -> str:
        return self.run.well(*words, "--town", self.town)

    def json(self, *words: str | Path) -> object:
        return self.run.json(*words, "--town", self.town)

    def register(self, seed: int, role: str = "mayor", **changed: object) -> str:
        about = self.folder / "about.json"
        about.write_text(candidate(role, **changed).model_dump_json())
        told = self.well("model", "register", adapter(self.folder / f"made-{role}-{seed}", seed), "--about", about)
        return told.split()[0]

    def score(self, model: str, passed: str) -> None:
        items = tuple(EvalItem(item=f"item-{letter}", category="git", passed=letter in passed) for letter in "abcd")
        share = len(passed) / 4
        score = Score(score=share, n=4, low=max(share - 0.2, 0), high=min(share + 0.2, 1))
        scores = {"": score, "git": score}
        told = Evaluation(id=f"{model}-{passed}", model=model, suite="patrol", at=AT, scores=scores, items=items)
        file = self.folder / "evaluation.json"
        file.write_text(told.model_dump_json())
        self.well("model", "score", file)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_life_of_two_models(desk: Desk) -> None:
    """Registered, examined, gated, deployed, compared, rolled back: each step can be seen."""
    assert ["mayor-v1", "mayor-v2"] == [desk.register(1, lora_rank=8), desk.register(2, dpo_pairs=342, examples=1847)]
    desk.score("mayor-v1", "ab")
    desk.score("mayor-v2", "bcd")
    for name in ("mayor-v1", "mayor-v2"):
        desk.well("model", "mark", name, "gated", "--why", "passed")
        desk.well("model", "deploy", name, "--why", "its turn")
    table = [line.split() for line in desk.well("model", "list").splitlines()]
    assert ["NAME", "ROLE", "BASE", "VER", "EVAL", "STATUS"] == table[0]
    assert ["mayor-v2", "mayor", "smollm2-135m", "2", "75.0%", "active"] == table[1]
    assert ["mayor-v1", "mayor", "smollm2-135m", "1", "50.0%", "archived"] == table[2]
    page = desk.well("model", "show", "mayor@active")
    for line in (
        "Name:         mayor-v2", "LoRA:         rank-16", "Trained:      2026-11-22", "DPO pairs:    342",
        "Eval score:   75.0% (55.0% to 95.0%, n=4)", "Deployed to:  town", "Status:       active",
    ):  # fmt: skip
        assert line in page
    assert "1,847 examples" in page
    diff = desk.well("model", "diff", "mayor-v1", "mayor-v2")
    assert "patrol: 2 gained, 1 lost, 1 as before" in diff
    assert "  + item-c" in diff
    assert "  - item-a" in diff
    assert "lora_rank" in desk.well("model", "compare", "--role", "mayor")
    assert "mayor in the whole town is served by mayor-v1 (before: mayor-v2)" in desk.well("model", "rollback", "mayor")
    assert "rollback mayor-v1 in town" in desk.well("model", "history", "mayor-v1")
    assert "2 models checked: all whole\n" == desk.well("model", "verify")
    assert {"base", "tokenizer", "artifact"} <= set(desk.json("model", "lineage", "mayor-v1")["made_of"])  # type: ignore[index]


def test_many_hands_on_a_state_that_is_not_there_yet(desk: Desk) -> None:
    """Five commands at once, the first ever: one makes the state, each gets a version of its own."""
    about = desk.folder / "about.json"
    about.write_text(candidate("mayor", training_config={"sft": {"learning_rate": 0.1}}).model_dump_json())
    where = ["--town", str(desk.town), "--state-dir", str(desk.state)]
    folders = [adapter(desk.folder / f"made-{seed}", seed) for seed in range(5)]
    commands = [[*COMMAND, "model", "register", str(one), "--about", str(about), *where] for one in folders]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    told = [process.communicate() for process in started]
    assert [""] * 5 == [errors for _, errors in told]
    assert {f"mayor-v{number}" for number in range(1, 6)} == {said.split()[0] for said, _ in told}


def test_a_list_needs_nothing_heavy(desk: Desk) -> None:
    desk.register(1)
    for words in (["list"], ["list", "--json"], ["adapters"], ["show", "mayor-v1"]):
        command = [sys.executable, "-c", LIGHT, *words, "--town", str(desk.town), "--state-dir", str(desk.state)]
        told = subprocess.run(command, capture_output=True, check=True, text=True)
        assert "[]\n" == told.stderr


def test_adapters_for_tasks_stand_apart(desk: Desk) -> None:
    desk.register(1, "planning", kind="task", compatible_with=("mayor",))
    desk.register(2, lora_adapters=("planning-v1",))
    assert "planning-v1" not in desk.well("model", "list")
    assert ["planning-v1", "planning", "1", "-", "registered", "mayor"] == desk.well("model", "adapters").split("\n")[
        1
    ].split()
    assert "Adapters:     planning-v1" in desk.well("model", "show", "mayor-v1")
    refused = desk("model", "deploy", "planning-v1")
    assert (1, True) == (refused.returncode, "is an adapter for a task" in refused.stderr)


def test_while_the_town_is_stopped_only_the_way_back_is_open(desk: Desk) -> None:
    for seed in (1, 2):
        desk.well("model", "mark", desk.register(seed), "gated", "--why", "passed")
    desk.well("model", "deploy", "mayor-v1")
    (desk.town / "ESTOP").write_text("manual\t2026-11-22T00:00:00Z\tfire")
    refused = desk("model", "deploy", "mayor-v2")
    assert (1, "error: the town is stopped (fire); deploy when the stop is lifted\n") == (
        refused.returncode,
        refused.stderr,
    )
    assert "none of our models" in desk.well("model", "rollback", "mayor")


def test_what_cannot_be_undone_takes_a_yes(desk: Desk) -> None:
    for seed in (1, 2, 3):
        desk.register(seed)
    refused = desk("model", "prune", "--keep", "1")
    assert (1, True) == (refused.returncode, "say --yes" in refused.stderr)
    assert "would prune mayor-v2, mayor-v1" in desk.well("model", "prune", "--keep", "1", "--dry-run")
    assert "pruned mayor-v2, mayor-v1" in desk.well("model", "prune", "--keep", "1", "--yes")
    assert "registered, pruned" in desk.well("model", "list")
    assert "3 models checked" not in desk.well("model", "verify")


def test_mistakes_are_named(desk: Desk) -> None:
    desk.register(1)
    about = desk.folder / "about.json"
    about.write_text('{"role": "Mayor!", "base_model": "x"}')
    told = desk("model", "register", desk.folder / "made-mayor-1", "--about", about)
    assert 1 == told.returncode
    assert f"error: {about}: role: String should match pattern" in told.stderr
    about.write_text(candidate("mayor").model_dump_json())
    pickled = adapter(desk.folder / "pickled", 7)
    (pickled / "optimizer.pt").write_bytes(b"\x80\x04K\x01.")
    assert "optimizer.pt" in desk("model", "register", pickled, "--about", about).stderr
    assert "there is no model 'mayor-v9'" in desk("model", "show", "mayor-v9").stderr
    assert "there are models of mayor" in desk("model", "list", "--role", "major").stderr
    assert 2 == desk("model", "mark", "mayor-v1", "active", "--why", "x").returncode
    assert "nothing to roll back" in desk("model", "rollback", "mayor").stderr
    assert 2 == desk("model", "deploy", "mayor-v1", "--rig", "nowhere").returncode


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_gt_is_routed_by_the_shell(shell: str, desk: Desk) -> None:
    """Two words go to gtftctl; everything else reaches gt as it was typed, its exit code too."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    bin_ = desk.folder / "bin"
    bin_.mkdir()
    for name in ("gt", "gtftctl"):
        (bin_ / name).write_text(
            f'#!/bin/sh\nprintf "{name}"; for word; do printf " <%s>" "$word"; done; echo; exit 7\n'
        )
        (bin_ / name).chmod(0o755)
    init = subprocess.run([*COMMAND, "shell-init", shell], capture_output=True, check=True, text=True).stdout
    init = "\n".join(line for line in init.splitlines() if "_GTFTCTL_COMPLETE" not in line)
    script = f"{init}\ngt model list --role 'a b'\ngt corpus stats\ngt sling 'x y' '' \"$HOME\"\n"
    environ = {"PATH": f"{bin_}:{os.environ['PATH']}", "HOME": "/home/x"}
    told = subprocess.run([shell, "-c", script], env=environ, capture_output=True, check=False, text=True)
    lines = ["gtftctl <model> <list> <--role> <a b>", "gtftctl <corpus> <stats>", "gt <sling> <x y> <> </home/x>"]
    assert (7, lines) == (told.returncode, told.stdout.splitlines())


def test_gt_model_is_a_program_of_its_own(desk: Desk) -> None:
    desk.register(1)
    program = [sys.executable, "-P", "-c", "from gtftd.ctl import model_main; model_main()"]
    words = ["list", "--town", str(desk.town), "--state-dir", str(desk.state)]
    assert "mayor-v1" in subprocess.run([*program, *words], capture_output=True, check=True, text=True).stdout


def test_the_shell_completes_names_of_models(desk: Desk) -> None:
    for seed in (1, 2):
        desk.register(seed)
    environ = os.environ | {
        "_GTFTCTL_COMPLETE": "complete_bash", "COMP_WORDS": f"gtftctl model show --state-dir {desk.state} may",
        "COMP_CWORD": "5", "HOME": str(desk.folder),
    }  # fmt: skip
    told = subprocess.run(COMMAND, env=environ, capture_output=True, check=False, text=True)
    assert ["mayor-v1", "mayor-v2"] == sorted(told.stdout.split())


def test_jobs_are_recorded(desk: Desk) -> None:
    desk.well("job", "create", "deacon", "--id", "deacon-1", "--note", "nightly")
    for state in ("ready", "training"):
        desk.well("job", "advance", "deacon-1", state)
    assert ["deacon-1", "deacon", "sft", "training"] == desk.well("job", "list").splitlines()[1].split()[:4]
    refused = desk("job", "advance", "deacon-1", "ready")
    assert (1, True) == (refused.returncode, "is training and cannot become ready" in refused.stderr)
