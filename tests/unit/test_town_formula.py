"""Formulas as gt's parser reads them: what is valid, and why the rest is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtftd.town.formula import Expansion, Formula, Variable, formula_name, read_formula

WORKFLOW = """
formula = "mol-corpus-refresh"
description = "Rebuild the training corpus for {{scope}}."
type = "workflow"
version = 1
[vars.scope]
description = "What to rebuild"
default = "town"
[[steps]]
id = "prepare"
title = "Collect"
[[steps]]
id = "check"
title = "Check the corpus"
needs = ["prepare"]
acceptance = "A count is written to the bead notes."
"""


def read(content: str, name: str = "x.formula.toml") -> Formula:
    return read_formula(name, content.encode())


def test_a_workflow_is_read_whole() -> None:
    """Name, variables, steps with what they need and when they are done."""
    found = read(WORKFLOW)
    assert (True, "mol-corpus-refresh", "workflow", 1) == (found.is_valid, found.name, found.type, found.version)
    assert ("check", ("prepare",), "A count is written to the bead notes.") == (
        found.steps[1].id,
        found.steps[1].needs,
        found.steps[1].acceptance,
    )
    assert Variable("scope", "What to rebuild", default="town") in found.vars


def test_a_convoy_an_expansion_and_an_extension_are_read() -> None:
    """Legs and synthesis, templates, extends and compose."""
    convoy = read(
        'formula = "drift"\ntype = "convoy"\n[inputs.since]\ntype = "string"\nrequired = true\n'
        '[[legs]]\nid = "docs"\nfocus = "CLAUDE.md"\n[synthesis]\ntitle = "One report"\ndepends_on = ["docs"]\n'
    )
    assert (True, "CLAUDE.md", ("docs",)) == (convoy.is_valid, convoy.legs[0].focus, convoy.synthesis.depends_on)  # type: ignore[union-attr]
    expansion = read(
        'formula = "gated"\ntype = "expansion"\n[[template]]\nid = "{target}.work"\n'
        '[[template]]\nid = "{target}.gate"\nneeds = ["{target}.work"]\n'
    )
    assert (True, "{target}.gate") == (expansion.is_valid, expansion.steps[1].id)
    extension = read(
        'formula = "more"\ntype = "workflow"\nextends = ["base"]\n[[compose.expand]]\ntarget = "check"\n'
        'with = "gated"\n'
    )
    assert (True, ("base",), (Expansion("check", "gated"),)) == (
        extension.is_valid,
        extension.extends,
        extension.compose,
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('[formula]\nname = "x"\n[[steps]]\nid = "a"\n', "`formula` must be a string"),
        ('formula = "x"\ntype = "composition"\n[[steps]]\nid = "a"\n', "'composition'"),
        ('formula = "x"\n[steps.prepare]\ntitle = "P"\n', "`steps` must be an array of tables"),
        ('formula = "x"\ntype = "workflow"\n', "at least one `[[steps]]`"),
        ('formula = "x"\n[[steps]]\nid = "a"\n[[steps]]\nid = "a"\n', "two entries"),
        ('formula = "x"\n[[steps]]\nid = "a"\nneeds = ["b"]\n', "needs 'b', which is not there"),
        ('formula = "x"\n[[steps]]\nid = "a"\nneeds = ["b"]\n[[steps]]\nid = "b"\nneeds = ["a"]\n', "a circle"),
        ('formula = "x"\n[[steps]]\ntitle = "no id"\n', "has no id"),
        ('formula = "x"\ntype = "aspect"\n[[advice]]\ntarget = "a"\n', "`[[aspects]]`"),
        ('formula = "x"\ntype = "convoy"\n[[legs]]\nid = "a"\n[synthesis]\ndepends_on = ["b"]\n', "synthesis"),
        ("formula = ", "cannot be parsed"),
        ("a = " + "[" * 5000, "cannot be parsed"),
    ],
)
def test_what_gt_refuses_says_why(content: str, why: str) -> None:
    """The problem is told in words; the file is kept as far as it could be read."""
    found = read(content)
    assert any(why in problem for problem in found.problems), found.problems


def test_json_and_bytes_that_are_no_text_are_read() -> None:
    """A formula may be JSON; bad UTF-8 is a problem, not an error."""
    assert read('{"formula": "j", "steps": [{"id": "a"}]}', "j.formula.json").is_valid
    assert not read_formula("x.formula.toml", b"\xff\xfe").is_valid
    assert not read("[1, 2]", "x.formula.json").is_valid
    assert "mol-x" == formula_name("a/b/mol-x.formula.toml")


def test_the_real_formulas_are_judged_as_gt_judges_them(shared_data: Path) -> None:
    """All of gt's own and of bd's examples are valid but the one that gt's parser refuses too."""
    found = {path.name: read_formula(path.name, path.read_bytes()) for path in shared_data.rglob("*.formula.toml")}
    assert len(found) > 40
    assert ["security-audit.formula.toml"] == [name for name, formula in found.items() if not formula.is_valid]
