"""A sample town has the shape of a real one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from gtftd.errors import Refused
from gtftd.sampletown import is_sample_town, make_town
from gtftd.sampletown.repository import branch_of
from gtftd.town.layout import find_town, load_town


def test_a_sample_town_loads_as_a_town(tmp_path: Path) -> None:
    """Rigs, prefixes, accounts and beads folders are where the layout looks for them."""
    root = tmp_path / "town"
    make_town(root)
    town = load_town(root)
    assert town.prefixes == {"hb": "harbor", "ln": "lantern"}
    assert (root / ".claude-config",) == town.accounts
    assert [root / rig / "mayor/rig/.beads" for rig in ("harbor", "lantern")] == [r.beads_dir for r in town.rigs]
    assert root == find_town(cwd=root / "harbor/polecats/nux/harbor", environ={}, home=tmp_path)


def test_every_database_is_named_by_its_metadata(tmp_path: Path) -> None:
    make_town(tmp_path / "town")
    town = load_town(tmp_path / "town")
    folders = (town.beads_dir, *(rig.beads_dir for rig in town.rigs))
    names = [json.loads((folder / "metadata.json").read_text())["dolt_database"] for folder in folders]
    assert names == ["hq", "harbor", "lantern"]


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    """Also not what somebody wrote since."""
    root = tmp_path / "town"
    make_town(root)
    (root / "CLAUDE.md").write_text("mine\n")
    make_town(root)
    assert (root / "CLAUDE.md").read_text() == "mine\n"


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Refused, match="not empty and no sample town"):
        make_town(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_half_made_town_is_finished(tmp_path: Path) -> None:
    """The mark is written last, so an interrupted start is seen and done again."""
    root = tmp_path / "town"
    make_town(root)
    (root / ".sample/sample.json").unlink()
    (root / "mayor/rigs.json").unlink()
    assert not is_sample_town(root)
    make_town(root)
    assert is_sample_town(root)
    assert len(load_town(root).rigs) == 2


def test_settings_of_a_given_account_are_kept(tmp_path: Path) -> None:
    """Hooks may be installed in them already."""
    claude = tmp_path / "claude"
    claude.mkdir()
    (claude / "settings.json").write_text('{"hooks": {}}')
    make_town(tmp_path / "town", claude_dir=claude)
    assert (claude / "settings.json").read_text() == '{"hooks": {}}'
    assert (claude,) == load_town(tmp_path / "town").accounts


def test_formulas_keep_the_parsers_rules(tmp_path: Path) -> None:
    """A name, a legal type, unique ids, and needs that exist."""
    make_town(tmp_path / "town")
    files = sorted((tmp_path / "town/.beads/formulas").glob("*.formula.toml"))
    assert len(files) == 3
    for file in files:
        formula = tomllib.loads(file.read_text())
        assert file.name == f"{formula['formula']}.formula.toml"
        parts = formula.get("steps", []) + formula.get("legs", [])
        ids = [part["id"] for part in parts]
        assert len(ids) == len(set(ids)) > 0
        needed = {need for part in parts for need in part.get("needs", [])}
        assert needed | set(formula.get("synthesis", {}).get("depends_on", [])) <= set(ids)


def test_worktrees_are_on_branches_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "town"
    make_town(root)
    assert branch_of(root / "harbor/polecats/nux/harbor") == "idle-nux"
    assert branch_of(root / "lantern/crew/dag") == "main"


def test_without_git_there_is_still_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    make_town(tmp_path / "town")
    assert branch_of(tmp_path / "town/harbor/polecats/slit/harbor") == "idle-slit"
