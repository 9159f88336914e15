"""Formulas whose variables are the settings of a training."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gtftd.ctl.train_settings import Typed, order_of, with_recipe
from gtftd.errors import GtftdError, Invalid, Missing
from gtftd.schemas.settings import TrainingSettings
from gtftd.town.formula import Formula, read_formula
from gtftd.training.formula_vars import Recipe, find_formula, read_recipe, settings_by_variable
from gtftd.training.settings import names

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "mol-train-adapter.formula.toml"
HEAD = 'formula = "mol-x"\n[[steps]]\nid = "train"\ntitle = "Train"\n'


def formula(variables: str) -> Formula:
    made = read_formula("mol-x.formula.toml", (HEAD + variables).encode())
    assert () == made.problems
    return made


def typed(recipe: Recipe, **told: object) -> Typed:
    known: dict[str, object] = {
        "role": None, "task": None, "snapshot": None, "base": None, "objective": None, "settings": None,
        "changes": (), "parent": None, "insist": False, "run": None,
    }  # fmt: skip
    return with_recipe(Typed(**(known | told)), recipe)  # type: ignore[arg-type]


def test_the_example_trains_as_it_says() -> None:
    """It keeps to the rules of gt, each variable of a step is declared, and each value says that the formula set it."""
    shipped = find_formula(str(EXAMPLE), EXAMPLE.parent, here=EXAMPLE.parent, home=EXAMPLE.parent)
    assert () == shipped.problems
    recipe = read_recipe(shipped, ["role=deacon", "epochs=1", "base="])
    order = order_of(typed(recipe, changes=("lora.rank=4",)), TrainingSettings(), "ann")
    settings = order.settings
    assert ("deacon", "latest", None) == (order.role, order.snapshot, order.base)
    assert ("sft", 2e-4, 1.0, 4) == (
        settings.objective, settings.optimizer.learning_rate, settings.optimizer.epochs, settings.lora.rank
    )  # fmt: skip
    assert {
        "objective": "formula mol-train-adapter",
        "optimizer.learning_rate": "formula mol-train-adapter",
        "optimizer.epochs": "formula mol-train-adapter, --var epochs",
        "lora.rank": "--set",
    } == order.origins
    used = {word.split("}}")[0] for step in shipped.steps for word in f"{step.title}{step.description}".split("{{")[1:]}
    assert used <= {variable.name for variable in shipped.vars}


def test_every_setting_has_a_variable() -> None:
    """By its whole name; by its last word where that is nobody else's."""
    known = settings_by_variable()
    assert set(names()) == set(known.values())
    assert ("optimizer.learning_rate", "optimizer.learning_rate", "lora.rank") == (
        known["learning_rate"], known["optimizer_learning_rate"], known["lora_rank"]
    )  # fmt: skip


def test_options_win_over_the_formula_and_the_formula_over_files(tmp_path: Path) -> None:
    (tmp_path / "deacon.yaml").write_text("init_args:\n  seed: 1\n  lora: {rank: 2, alpha: 3}\n")
    made = formula('[vars]\nrole = "whose"\n[vars.seed]\ndefault = "5"\n[vars.rank]\ndefault = "7"\n')
    recipe = read_recipe(made, ["role=deacon"])
    order = order_of(typed(recipe, changes=("seed=9",)), TrainingSettings(settings_dir=tmp_path), "")
    settings = order.settings
    assert (9, 7, 3.0) == (settings.seed, settings.lora.rank, settings.lora.alpha)
    assert "mayor" == order_of(typed(recipe, role="mayor"), TrainingSettings(), "").role


def test_a_snapshot_that_was_typed_wins_over_the_formulas() -> None:
    """`latest` too."""
    recipe = read_recipe(formula('[vars]\nrole = ""\n[vars.snapshot]\ndefault = "abcd"\n'), ["role=deacon"])
    told = [order_of(typed(recipe, snapshot=one), TrainingSettings(), "").snapshot for one in (None, "latest", "ef01")]
    assert ["abcd", "latest", "ef01"] == told


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"role": "../../x"}, "role = '../../x'"),
        ({"role": "deacon", "run": "Not A Name"}, "run = 'Not A Name'"),
        ({"role": "deacon", "parent": "x" * 101}, "parent = 'xxx"),
    ],
)
def test_a_wrong_name_is_named(told: dict[str, object], why: str) -> None:
    with pytest.raises(Invalid, match=re.escape(why)):
        order_of(typed(Recipe("mol-x"), **told), TrainingSettings(), "")


def test_variables_that_are_no_settings_are_the_formulas_own() -> None:
    """Also bd's inputs, and variables without a value."""
    made = formula('[vars]\nrig = "where"\n[vars.seed]\ndefault = ""\n[inputs.task]\ndefault = "code-review"\n')
    assert Recipe("mol-x", {"task": "code-review"}, ()) == read_recipe(made, ["rig=harbor"])


@pytest.mark.parametrize(
    ("variables", "given", "why"),
    [
        ("[vars.role]\nrequired = true\n", [], "formula mol-x wants role: --var role=..."),
        ('[vars]\nrole = ""\n', ["rolle=x"], "has no variable 'rolle'; it has role"),
        ('[vars]\nrole = ""\n', ["role"], "write it as name=value"),
        ('[vars.learning_rte]\ndefault = "1"\n', [], "did you mean learning_rate?"),
        ('[vars.seed]\ndefault = "[[[["\n', [], "formula mol-x: "),
        ('[vars.seed]\ndefault = "' + "[" * 5000 + '"\n', [], "brackets are no settings"),
    ],
)
def test_mistakes_are_told(variables: str, given: list[str], why: str) -> None:
    with pytest.raises(Invalid) as told:
        read_recipe(formula(variables), given)
    assert why in str(told.value)


def test_a_wrong_value_says_which_formula_has_it() -> None:
    recipe = read_recipe(formula('[vars.rank]\ndefault = "many"\n'), [])
    with pytest.raises(Invalid, match=r"formula mol-x: lora\.rank = 'many'"):
        order_of(typed(recipe, role="deacon"), TrainingSettings(), "")


@pytest.mark.parametrize(
    ("named", "error", "why"),
    [
        ("mol-none", Missing, "there is no formula 'mol-none' in "),
        ("../../etc/passwd", Invalid, "neither the name of a formula nor a file"),
        ("{folder}/none.toml", Missing, "cannot read a formula from"),
        ("{folder}/pipe.toml", Invalid, "no regular file"),
        ("{folder}/broken.formula.toml", Invalid, "it cannot be parsed"),
        ("{folder}/large.toml", Invalid, "too many for a formula"),
    ],
)
def test_what_is_no_formula_is_refused(tmp_path: Path, named: str, error: type[GtftdError], why: str) -> None:
    (tmp_path / "broken.formula.toml").write_bytes(b"\x00\xff = [")
    (tmp_path / "large.toml").write_bytes(b"#" * 2_000_000)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(error, match=why):
        find_formula(named.format(folder=tmp_path), tmp_path, here=tmp_path, home=tmp_path)


def test_a_name_is_looked_up_where_gt_looks(tmp_path: Path) -> None:
    """Here, in the town, at home; the first one counts."""
    for place, text in (("home", "home's"), ("town", "the town's")):
        folder = tmp_path / place / ".beads" / "formulas"
        folder.mkdir(parents=True)
        (folder / "mol-x.formula.toml").write_text(f'description = "{text}"\n{HEAD}')
    found = find_formula("mol-x", tmp_path / "town", here=tmp_path, home=tmp_path / "home")
    assert "the town's" == found.description
