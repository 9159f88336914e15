"""Artifacts of a town, interactions, what gt prints: collected once, again without change, and gone with their file."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.errors import Missing
from gtftd.schemas.corpus import Entry
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import ConfigChanged, FormulaChanged
from tests.support.documents import SECRET, counts, desk, last, make_town, write, write_lines

AT = datetime(2026, 3, 1, tzinfo=UTC)
FORMULA = 'formula = "mol-x"\ntype = "workflow"\n[[steps]]\nid = "a"\ntitle = "Do"\nacceptance = "It is done"\n'


def full_town(root: Path) -> Path:
    town = make_town(root, "harbor")
    write(town / "CLAUDE.md", "# Town rules\n\nRun `gt prime`.\n")
    write(town / "harbor" / "mayor" / "rig" / "AGENTS.md", f"# Harbor\n\ntoken {SECRET}\n")
    write(town / "directives" / "polecat.md", "Never push to main.\n")
    write(town / "harbor" / "roles" / "crew.toml", 'role = "crew"\n')
    write(town / "formula-overlays" / "mol-x.toml", '[[step-overrides]]\nstep_id = "a"\n')
    write(town / ".beads" / "formulas" / "mol-x.formula.toml", FORMULA)
    write(town / ".beads" / "formulas" / "bad.formula.toml", '[formula]\nname = "bad"\n')
    write(town / ".beads" / "formulas" / ".installed.json", "{}")
    write(town / ".beads" / "PRIME.md", "Use bd ready.\n")
    write(town / "plugins" / "tidy" / "plugin.md", "# Tidy\n")
    write(town / "settings" / "config.json", "{}")
    write(town / "harbor" / "mayor" / "rig" / "docs" / "deep" / "guide.md", "# Guide\n")
    write(town / "harbor" / "mayor" / "rig" / "plans" / "p1" / "02-spec" / "spec.md", "# Spec\n")
    write(town / "harbor" / "polecats" / "nux" / "harbor" / "docs" / "copy.md", "# A worktree's copy\n")
    write(town / "docs" / "node_modules" / "x.md", "# Not ours\n")
    return town


async def test_every_document_of_a_town_is_collected_once(tmp_path: Path) -> None:
    """Each with its kind, its role and its rig; settings and worktrees are none. A second run changes nothing."""
    town = full_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town) as made:
        assert (11, 0, 0, 0) == counts(await last(made.documents.artifacts()))
        found = await made.entries("artifact")
        told = {origin: (entry.issue_type, entry.role, entry.rig) for origin, entry in found.items()}
        assert told == {
            "file:CLAUDE.md": ("claude_md", "all", None),
            "file:harbor/mayor/rig/AGENTS.md": ("agents_md", "all", "harbor"),
            "file:directives/polecat.md": ("directive", "polecat", None),
            "file:harbor/roles/crew.toml": ("role", "crew", "harbor"),
            "file:formula-overlays/mol-x.toml": ("overlay", "all", None),
            "file:.beads/formulas/mol-x.formula.toml": ("formula", "all", None),
            "file:.beads/formulas/bad.formula.toml": ("formula", "all", None),
            "file:.beads/PRIME.md": ("prime_md", "all", None),
            "file:plugins/tidy/plugin.md": ("plugin", "all", None),
            "file:harbor/mayor/rig/docs/deep/guide.md": ("doc", "all", "harbor"),
            "file:harbor/mayor/rig/plans/p1/02-spec/spec.md": ("spec", "all", "harbor"),
        }
        assert (0, len(told), 0, 0) == counts(await last(made.documents.artifacts()))


async def test_a_document_says_what_it_is_and_teaches_nothing(tmp_path: Path) -> None:
    """Scrubbed, labelled as collected, of the task `document`, with no trainable turn; a formula with its fields."""
    town = full_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town) as made:
        await last(made.documents.artifacts())
        found = await made.entries("artifact")
        for entry in found.values():
            assert ("document", "collected", 1.0, "file") == (
                entry.task,
                entry.outcome.label,
                entry.outcome.confidence,
                entry.source,
            )
            assert not any(message.trainable for message in entry.messages)
        harbor = found["file:harbor/mayor/rig/AGENTS.md"]
        assert SECRET not in harbor.model_dump_json()
        assert sum(harbor.redactions.values()) == 1
        assert "Harbor" == harbor.title
        fields = json.loads(found["file:.beads/formulas/mol-x.formula.toml"].messages[1].content)
        assert (True, "It is done") == (fields["valid"], fields["steps"][0]["acceptance"])
        bad = json.loads(found["file:.beads/formulas/bad.formula.toml"].messages[1].content)
        assert (False, True) == (bad["valid"], "`formula` must be a string" in bad["problems"][0])
        assert '[formula]\nname = "bad"\n' == found["file:.beads/formulas/bad.formula.toml"].messages[0].content


async def test_documents_go_with_their_files_and_change_with_them(tmp_path: Path) -> None:
    """A vanished or emptied file takes its entry along; a changed one keeps its id; others are left alone."""
    town = full_town(tmp_path / "gt")
    outside = tmp_path / "files"
    write(outside / "docs" / "a.md", "# A\n")
    async with desk(tmp_path / "state", town) as made:
        await last(made.documents.artifacts())
        assert (1, 0, 0, 0) == counts(await last(made.documents.artifacts(outside)))
        before = await made.entries("artifact")
        (town / "plugins" / "tidy" / "plugin.md").unlink()
        write(town / ".beads" / "PRIME.md", "")
        write(town / "CLAUDE.md", "# New rules\n")
        stored, _, skipped, withdrawn = counts(await last(made.documents.artifacts()))
        assert (1, 1, 2) == (stored, skipped, withdrawn)
        after = await made.entries("artifact")
        assert before["file:CLAUDE.md"].entry_id == after["file:CLAUDE.md"].entry_id
        assert before.keys() - after.keys() == {"file:plugins/tidy/plugin.md", "file:.beads/PRIME.md"}
        (outside / "docs" / "a.md").unlink()
        assert (0, 0, 0, 1) == counts(await last(made.documents.artifacts(outside)))


async def test_a_folder_of_the_town_is_collected_under_the_same_names(tmp_path: Path) -> None:
    """The same file has one entry, whichever way it was found; what lies outside of the folder is not withdrawn."""
    town = full_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town) as made:
        await last(made.documents.artifacts())
        before = await made.entries("artifact")
        found = await last(made.documents.artifacts(town / "harbor" / "mayor" / "rig"))
        assert (0, 0) == (found.stored, found.withdrawn)
        assert before.keys() == (await made.entries("artifact")).keys()
        with pytest.raises(Missing, match="no folder"):
            await last(made.documents.artifacts(town / "nowhere"))


async def test_files_that_lead_elsewhere_or_never_end_are_left_out(tmp_path: Path) -> None:
    """A link out of the town, a pipe, a file beyond all size, bad UTF-8: none of them stops the others."""
    town = make_town(tmp_path / "gt", "harbor")
    private = write(tmp_path / "private.md", "not yours\n")
    (town / "CLAUDE.md").symlink_to(private)
    docs = town / "docs"
    write(docs / "big.md", "x" * (1024 * 1024 + 1))
    (docs / "bad.md").write_bytes(b"# \xff\x00 broken\n")
    os.mkfifo(docs / "pipe.md")
    async with desk(tmp_path / "state", town) as made:
        assert (1, 0, 2, 0) == counts(await last(made.documents.artifacts()))
        assert ["file:docs/bad.md"] == list(await made.entries("artifact"))


async def test_limits_of_collection_hold_for_documents(tmp_path: Path) -> None:
    """A rig that is left out gives none of its files, and nothing is collected when it is switched off."""
    town = full_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town, settings=CollectionSettings(skip_rigs=("harbor",))) as made:
        await last(made.documents.artifacts())
        assert {None} == {entry.rig for entry in (await made.entries("artifact")).values()}
    async with desk(tmp_path / "other", town, settings=CollectionSettings(enabled=False)) as made:
        assert "switched off" in (await last(made.documents.artifacts())).note
        assert {} == await made.entries("artifact")


async def test_a_changed_file_is_collected_at_once_and_what_it_no_longer_names_is_retired(tmp_path: Path) -> None:
    """The command that no instruction names any more; one that another file still names is not."""
    town = make_town(tmp_path / "gt", "harbor")
    rules = write(town / "CLAUDE.md", "Run `bd sync` and `gt mq close X`, then `gt done`.\n")
    write(town / "harbor" / "mayor" / "rig" / "AGENTS.md", "At the end run `gt done`.\n")
    async with desk(tmp_path / "state", town) as made:
        await last(made.documents.artifacts())
        write(rules, "Run `bd dolt push`.\n")
        event = ConfigChanged(
            at=AT, seen_by="watch", kind="claude_md", path="CLAUDE.md", sha256="b", previous_sha256="a"
        )
        await made.documents.changed(event)
        await made.documents.changed(event)
        assert {"bd sync": AT, "gt mq close": AT} == await made.history.retired("harbor")
        assert "bd dolt push" in (await made.entries("artifact"))["file:CLAUDE.md"].messages[0].content
        write(rules, "Run `bd sync` after all.\n")
        await made.documents.changed(event.model_copy(update={"sha256": "c"}))
        assert ["gt mq close"] == sorted(set(await made.history.retired(None)) - {"bd dolt push"})


async def test_a_formula_that_vanishes_takes_its_document_along(tmp_path: Path) -> None:
    """The event says that the file is gone; settings are never collected."""
    town = full_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town) as made:
        await last(made.documents.artifacts())
        path = ".beads/formulas/mol-x.formula.toml"
        (town / path).unlink()
        await made.documents.changed(
            FormulaChanged(at=AT, seen_by="watch", name="mol-x", path=path, previous_sha256="a")
        )
        assert f"file:{path}" not in await made.entries("artifact")
        before = await made.entries("artifact")
        changed = ConfigChanged(at=AT, seen_by="watch", kind="settings", path="settings/config.json", sha256="a")
        await made.documents.changed(changed)
        assert before == await made.entries("artifact")


async def test_interactions_are_told_by_bead(tmp_path: Path) -> None:
    """Calls of models as question and answer, the rest in a line; broken lines are counted."""
    town = make_town(tmp_path / "gt", "harbor")
    rows: list[object] = [
        {"id": "i1", "kind": "llm_call", "created_at": "2026-03-01T10:00:00Z", "actor": "harbor/polecats/nux",
         "issue_id": "ha-1", "model": "m", "prompt": f"use {SECRET}", "response": "I did"},
        {"id": "i2", "kind": "tool_call", "created_at": "2026-03-01T10:01:00Z", "issue_id": "ha-1",
         "tool_name": "go test", "exit_code": 1, "error": "FAIL"},
        {"id": "i3", "kind": "label", "created_at": "2026-03-01T11:00:00Z", "parent_id": "i1", "label": "good"},
        {"id": "i2", "kind": "tool_call", "issue_id": "ha-1"},
        {"id": "i4", "kind": "surprise"},
    ]  # fmt: skip
    path = write_lines(town / "harbor" / "mayor" / "rig" / ".beads" / "interactions.jsonl", rows)
    with path.open("a") as file:
        file.write("{broken\n" + "[" * 20_000 + "\n")
    async with desk(tmp_path / "state", town) as made:
        done = await last(made.documents.interactions())
        assert (2, 0, 0, 0) == counts(done)
        assert "repeated 1" in done.note
        found = await made.entries("interactions")
        entry = found["interactions:harbor/ha-1"]
        assert ("polecat", "harbor", "ha-1", "m") == (entry.role, entry.rig, entry.bead, entry.model)
        assert ["user", "assistant", "system"] == [message.role for message in entry.messages]
        assert (True, False) == (entry.messages[2].is_error, any(message.trainable for message in entry.messages))
        assert SECRET not in entry.model_dump_json()
        assert found["interactions:harbor/-"].bead is None
        assert (0, 2, 0, 0) == counts(await last(made.documents.interactions()))


async def test_prime_is_what_gt_prints_in_the_folder_of_the_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a hook and as nobody's session; a gt that fails or is not there is told, and nothing is stored."""
    town = make_town(tmp_path / "gt", "harbor")
    for folder in ("deacon", "harbor/witness", "harbor/polecats/nux-2/harbor"):
        (town / folder).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("GT_ROLE", "mayor")
    async with desk(tmp_path / "state", town) as made:
        missing = await last(made.documents.prime())
        assert (4, True) == (missing.skipped, "not on the PATH" in missing.note)
        script = '#!/bin/sh\n[ "$1" = prime ] || exit 3\n[ "${PWD##*/}" = witness ] && exit 1\n'
        write(tmp_path / "bin" / "gt", script + 'echo "You are in ${PWD##*/}, role=$GT_ROLE"\n').chmod(0o755)
        done = await last(made.documents.prime())
        assert ((3, 0, 1, 0), "gt prime did not answer in 1 places") == (counts(done), done.note)
        found = await made.entries("prime")
        assert {"prime:mayor/", "prime:deacon/", "prime:polecat/harbor"} == set(found)
        entry: Entry = found["prime:polecat/harbor"]
        assert ("polecat", "harbor", "You are in harbor, role=\n") == (entry.role, entry.rig, entry.messages[0].content)
        assert (0, 1, 0, 0) == counts(await last(made.documents.prime(["mayor"])))
