"""gt's role templates as gt renders them, and what a role begins with today."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtftd.errors import Invalid, Missing
from gtftd.town.role_prime import SAMPLE, role_prime, roles_in
from gtftd.town.role_template import Part, render, split
from tests.support.prime import make_checkout

TEMPLATES = Path(__file__).parent.parent / "support" / "role_templates"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Run `{{ cmd }} prime` in {{ .RigName }}.", "Run `gt prime` in gastown."),
        ("{{cmd}}{{.RigName}}", "gtgastown"),
        ("a {{- cmd -}} b", "agtb"),
        ("a\n{{- .RigName }}\nb", "agastown\nb"),
        ("a{{/* nobody\nreads this */}}b", "ab"),
        ("a {{- /* nobody */ -}} b", "ab"),
        ("no action, but } and { and }}", "no action, but } and { and }}"),
        ("", ""),
    ],
)
def test_values_take_their_places(template: str, text: str) -> None:
    """Fields, cmd, comments, and blanks that a dash takes away."""
    assert text == render(template, {"RigName": "gastown"})


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a\n{{ if .X }}b{{ end }}", "line 2: {{ if .X }} is no field and not cmd"),
        ("{{ range .Steps }}", "is no field"),
        ("{{ .Unknown }}", "no value is known for .Unknown; there are RigName"),
        ("{{ .RigName | printf }}", "is no field"),
        ("{{ .rigName }}", "is no field"),
        ("a\nb {{ cmd", "line 2: an action that begins with {{ never ends"),
    ],
)
def test_what_is_not_in_these_templates_is_refused(template: str, words: str) -> None:
    """With its line, instead of a prime that says something else."""
    with pytest.raises(Invalid) as told:
        render(template, {"RigName": "gastown"}, name="polecat.md.tmpl")
    assert words in str(told.value)
    assert "polecat.md.tmpl" in str(told.value)


def test_sections_are_split_at_headings_and_not_in_fences() -> None:
    """A shell comment is no heading; the whole text is there."""
    text = (
        "# Top\nx\n## One\n```bash\n## no heading\n~~~\n```\n### three\n## Two\n~~~~\n```\n## no\n~~~\n~~~~\n## Three\n"
    )
    parts = split(text)
    assert ["(top)", "One", "Two", "Three"] == [part.heading for part in parts]
    assert text == "".join(part.text for part in parts)
    assert [] == split("")
    assert [Part("A", "## A\n")] == split("## A\n")


@pytest.mark.parametrize("role", ["boot", "dog"])
def test_real_templates_are_rendered_whole(role: str) -> None:
    """No action is left, and no section is lost."""
    template = (TEMPLATES / f"{role}.md.tmpl").read_text()
    text = render(template, SAMPLE | {"WorkDir": "/w"})
    assert "{{" not in text
    assert template.count("\n") == text.count("\n")
    assert len(split(text)) > 5


def test_a_folder_that_is_no_checkout_is_told(tmp_path: Path) -> None:
    """With what is missing in it."""
    with pytest.raises(Missing, match="holds no role templates"):
        roles_in(tmp_path)


def test_a_polecat_begins_with_every_step_of_its_work(tmp_path: Path) -> None:
    """As gt prints it: role, formula, the town's instructions, beads."""
    pieces = list(role_prime(make_checkout(tmp_path), "polecat"))
    names = ["(top)", "Who", "mol-polecat-work, its steps", "", ""]
    assert names == [piece.name for piece in pieces]
    assert "## Who\nnux\n" == pieces[1].text
    assert "### Step 1: First\n\nlong " in pieces[2].text
    assert "second line" in pieces[2].text
    assert "Run gt prime\n" == pieces[3].text


def test_a_patrol_is_told_in_short_and_read_in_full_later(tmp_path: Path) -> None:
    """The first line of each step, cut; the whole formula is not in what gt prints."""
    pieces = list(role_prime(make_checkout(tmp_path), "witness"))
    summary = next(piece for piece in pieces if piece.name.endswith("its summary"))
    assert "second line" not in summary.text
    assert "..." in summary.text
    assert [True] == [piece.later for piece in pieces if piece.name.endswith("in full")]


def test_a_formula_without_steps_is_told(tmp_path: Path) -> None:
    """Rather than counted as nothing."""
    folder = make_checkout(tmp_path)
    (folder / "internal/formula/formulas/mol-polecat-work.formula.toml").write_text("not = [toml")
    with pytest.raises(Invalid, match="has no steps"):
        list(role_prime(folder, "polecat"))


def test_every_real_role_has_the_size_that_was_measured(shared_data: Path) -> None:
    """Bytes of role template, formula, CLAUDE.md and PRIME.md, as they were counted by hand."""
    folder = shared_data / "gastown" / "files"
    assert 8 == len(roles_in(folder))
    for role, least, most in (("polecat", 34_000, 40_000), ("deacon", 20_000, 26_000), ("boot", 8_000, 10_000)):
        assert least < sum(len(piece.text.encode()) for piece in role_prime(folder, role) if not piece.later) < most
    later = sum(len(piece.text.encode()) for piece in role_prime(folder, "deacon") if piece.later)
    assert 36_000 < later < 42_000
