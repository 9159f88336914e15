"""Everything that lies in the real data, collected twice: all of it is there, labelled, and the second run is idle."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gtftd.corpus.reasons import classify
from gtftd.town.bead_lives import read_export
from tests.support.documents import counts, desk, last, make_town

EXPORTS = ("beads-backup-2026-03", "beads-export-2025-12-22", "beads-export-2026-02-27")
FOLDERS = ("gastown/files", "beads/files")


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_all_of_the_real_data_is_collected_and_every_closed_bead_has_a_label(
    tmp_path: Path, shared_data: Path
) -> None:
    """A label with its facts for each close, whichever export tells of it last; no bead and no document is lost."""
    town = make_town(tmp_path / "gt", "gastown")
    exports = [shared_data / "gastown" / name for name in EXPORTS]
    wanted = {life.bead: life for export in exports for life in read_export(export)[0]}
    async with desk(tmp_path / "state", town) as made:
        for folder in FOLDERS:
            done = await last(made.documents.artifacts(shared_data / folder))
            assert (done.total, 0) == (done.stored, done.skipped)
        for export in exports:
            await last(made.documents.operational(export, ["gastown"]))
        entries = {entry.bead: entry for entry in (await made.entries("operational")).values()}
        assert wanted.keys() == entries.keys()
        closed = [bead for bead, life in wanted.items() if life.issue.closed]
        assert all(entries[bead].outcome.evidence for bead in closed)
        assert {"collected"}.isdisjoint(entries[bead].outcome.label for bead in closed)
        print(_table(Counter((entries[b].outcome.label, classify(wanted[b].issue.reason).name) for b in closed)))  # type: ignore[arg-type]
        rows = await made.rows("SELECT * FROM entries ORDER BY entry_id")
        for folder in FOLDERS:
            done = await last(made.documents.artifacts(shared_data / folder))
            assert (0, done.total, 0, 0) == counts(done)
        for export in exports:
            done = await last(made.documents.operational(export, ["gastown"]))
            assert (0, done.total, 0, 0) == counts(done)
        assert rows == await made.rows("SELECT * FROM entries ORDER BY entry_id")


async def test_the_real_formulas_are_documents_with_their_fields(tmp_path: Path, shared_data: Path) -> None:
    """Every one of gt's own; the one that gt refuses says why."""
    folder = shared_data / "gastown" / "files" / "internal" / "formula"
    async with desk(tmp_path / "state", make_town(tmp_path / "gt")) as made:
        done = await last(made.documents.artifacts(folder))
        entries = (await made.entries("artifact")).values()
        found = {
            entry.title: json.loads(entry.messages[1].content) for entry in entries if entry.issue_type == "formula"
        }
        assert len(entries) == done.stored > len(found) > 40
        assert ["security-audit"] == [name for name, told in found.items() if not told["valid"]]
        work = found["mol-polecat-work"]
        assert all(step["id"] and step["title"] for step in work["steps"])


def _table(found: Counter[tuple[str, str]]) -> str:
    return "\n".join(f"{count:6} {label:16} {reason}" for (label, reason), count in sorted(found.items()))
