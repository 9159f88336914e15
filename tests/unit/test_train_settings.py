"""Settings of a run: from files and options, each value with where it came from."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from gtftd.errors import GtftdError, Invalid, Missing
from gtftd.schemas.training import TrainSettings
from gtftd.training.settings import Given, from_file, from_options, names, resolve

FILE = """# of the deacon
class_name: gtftd.training.Dpo
init_args:
  optimizer:
    learning_rate: 1e-5
    steps: null
  lora: {rank: 8, targets: [q_proj, v_proj]}
  seed: 7
"""


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "deacon.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


@pytest.mark.parametrize(("objective", "rate"), [("sft", 2e-4), ("dpo", 5e-6), ("kto", 5e-6)])
def test_nothing_given_is_the_defaults(objective: str, rate: float) -> None:
    """The rate is the objective's, and told."""
    resolved = resolve([Given("objective", objective, "--objective")])
    told = {"optimizer": {"learning_rate": rate}}
    assert TrainSettings.model_validate({"objective": objective} | told) == resolved.settings
    assert {
        "objective": "--objective", "optimizer.learning_rate": f"the default of {objective}",
    } == resolved.origins  # fmt: skip


def test_every_value_says_where_it_came_from(tmp_path: Path) -> None:
    """Later ones win: the configuration, the file, the options."""
    file = written(tmp_path, FILE)
    given = [Given("threads", 2, "config"), Given("seed", 1, "config"), *from_file(file)]
    resolved = resolve([*given, *from_options(["optimizer.learning_rate=1e-4", "data.packing=false"])])
    settings = resolved.settings
    assert ("dpo", 1e-4, 7, 2) == (
        settings.objective, settings.optimizer.learning_rate, settings.seed, settings.threads,
    )  # fmt: skip
    assert (8, ("q_proj", "v_proj"), False) == (settings.lora.rank, settings.lora.targets, settings.data.packing)
    assert {
        "threads": "config",
        "seed": f"{file}:8",
        "objective": f"{file}:2",
        "optimizer.learning_rate": "--set",
        "optimizer.steps": f"{file}:6",
        "lora.rank": f"{file}:7",
        "lora.targets": f"{file}:7",
        "data.packing": "--set",
    } == resolved.origins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class_name: gtftd.training.Ppo\n", ":1: class_name must be one of gtftd.training.Sft"),
        ("class_name: [a]\n", ":1: class_name must be one of"),
        ("init_arg: {}\n", ":1: 'init_arg' is not known here"),
        ("init_args:\n  lora:\n    ranks: 8\n", ":3: unknown setting 'lora.ranks'; did you mean lora.rank?"),
        ("init_args: {learning_rate: 1}\n", "did you mean optimizer.learning_rate?"),
        ("init_args: {lora: {rank: many}}\n", ":1: lora.rank = 'many': Input should be a valid integer"),
        ("init_args: {lora: {rank: 0}}\n", "greater than or equal to 1"),
        ("init_args: {lora: 3}\n", ":1: unknown setting 'lora'"),
        ("init_args:\n  seed: 1\n  seed: 2\n", ":3: 'seed' is set twice"),
        ("init_args: [1]\n", ":1: names and values are expected here"),
        ("a: &x [1]\nb: *x\n", "it uses aliases"),
        ("init_args: {seed: !!python/object/apply:os.system [id]}\n", ":1: could not determine a constructor"),
        ("init_args: {? [a] : 1}\n", ":1: a name is expected here"),
        ("{", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        ("init_args: " + "{a: " * 40 + "1" + "}" * 40, "nested too deeply"),
        ("[" * 5000, "more than 200 brackets"),
        ("#" * 300_000, "too many for settings"),
        ("init_args: {seed: 2026-13-45}\n", ":1: month must be in 1..12"),
        ("init_args: {seed: !!bool x}\n", ":1: 'x'"),
        ("init_args: {seed: 0x" + "f" * 5000 + "}\n", "a value of more than 1000 characters"),
        ("init_args: {checkpoint_s: .inf}\n", ":1: checkpoint_s = 'inf': Input should be a finite number"),
        ("init_args: {optimizer: {learning_rate: .nan}}\n", ":1: optimizer.learning_rate = 'nan'"),
        ("init_args: {exports: merged}\n", ":1: exports = 'merged': Input should be a list: [a, b]"),
        ("init_args: {lora: {targets: []}}\n", "at least 1 item"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        resolve(from_file(written(tmp_path, text)))
    assert words in str(refused.value)


BOMB = "&a [x,x,x,x,x,x,x,x,x,x]" + "".join(f",&{b} [{','.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefghi"))
"""Ten to the ninth, once somebody writes it out."""


@pytest.mark.parametrize(
    "option",
    ["seed", "nothing=1", "seed=[", "seed=-1", "=", "lora.rank=1.5", "seed=0x_", "seed=!!timestamp x", "seed=!!int ''",
     "lora.alpha=.inf", "memory_bytes=99999999999999999999", f"exports=[{BOMB}]"],
)  # fmt: skip
def test_a_wrong_option_is_refused(option: str) -> None:
    with pytest.raises(GtftdError, match="--set"):
        resolve(from_options([option]))


def test_an_empty_file_sets_nothing_and_none_is_missing(tmp_path: Path) -> None:
    assert [] == from_file(written(tmp_path, ""))
    with pytest.raises(Missing):
        from_file(tmp_path / "other.yaml")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", tmp_path, Path("/dev/zero")):
        with pytest.raises(Invalid, match="no regular file"):
            from_file(path)


def test_every_setting_can_be_named() -> None:
    known = set(names())
    assert {"objective", "optimizer.learning_rate", "preferences.beta", "lora.rank", "memory_bytes"} <= known
    assert not known & {"lora", "optimizer", "data", "preferences"}
