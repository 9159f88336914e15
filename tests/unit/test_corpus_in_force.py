"""What was in force when: history by events and by looks, in any order, with gt's version."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.corpus.in_force import ConventionHistory
from gtftd.schemas.town import ConfigChanged, FormulaChanged
from gtftd.state import Database
from gtftd.town.layout import load_town
from tests.support.documents import desk, make_town, write

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = time.time() - 60
"""When this test can at the earliest have begun: the disk has its own clock."""
HOUR = timedelta(hours=1)
FORMULA = ".beads/formulas/mol-x.formula.toml"


def changed(path: str, now: str | None, before: str | None, at: datetime, rig: str | None = None) -> ConfigChanged:
    return ConfigChanged(
        at=at, seen_by="watch", kind="claude_md", path=path, rig=rig, sha256=now, previous_sha256=before
    )


async def test_what_was_in_force_is_what_the_last_change_before_left(tmp_path: Path) -> None:
    """Before the first record counts what is known first; going back to an old text gives its hash again."""
    town = make_town(tmp_path / "gt", "harbor")
    async with desk(tmp_path / "state", town, gt_version="v1.0.1") as made:
        history = made.history
        await history.record(changed("CLAUDE.md", "b", "a", AT))
        await history.record(changed("CLAUDE.md", "c", "b", AT + HOUR))
        await history.record(changed("CLAUDE.md", "a", "c", AT + 2 * HOUR))
        hashes = [(await history.at(None, AT + hours * HOUR)).instructions for hours in (-1, 0, 0.5, 1, 2, 3)]
        assert [0, 1, 1, 2, 0, 0] == [[hashes[0], hashes[1], hashes[3]].index(one) for one in hashes]


async def test_recording_twice_and_late_changes_nothing(tmp_path: Path) -> None:
    """Records are kept by path and time."""
    town = make_town(tmp_path / "gt")
    async with desk(tmp_path / "state", town) as made:
        events = [changed("CLAUDE.md", "b", "a", AT), changed("CLAUDE.md", None, "b", AT + HOUR)]
        for event in (*events, *events):
            await made.history.record(event)
        assert 3 == len(await made.rows("SELECT * FROM conventions WHERE kind = 'claude_md'"))
        assert None is (await made.history.at(None, AT + 2 * HOUR)).instructions


async def test_changes_are_the_same_history_in_any_order_and_beside_any_look(tmp_path: Path) -> None:
    """What was there before all of them is what the first one found, and no look at the disk knows better."""
    town = make_town(tmp_path / "gt")
    texts = [None, "one\n", "two\n", "one\n"]
    sums = [text and hashlib.sha256(text.encode()).hexdigest() for text in texts]
    changes = [
        changed("CLAUDE.md", now, before, AT + hours * HOUR)
        for hours, (before, now) in enumerate(itertools.pairwise(sums))
    ]
    moments = [AT + hours * HOUR for hours in (-1, 0, 0.5, 1, 2, 3)]
    told = set()
    for number, order in enumerate(itertools.permutations(changes)):
        for look in (None, *range(len(changes) + 1)):
            state, clock = tmp_path / f"{number}-{look}", (AT + 9 * HOUR).timestamp()
            write(town / "CLAUDE.md", str(texts[-1]))
            async with desk(state, town, clock=clock) as made:
                for step, event in enumerate(order):
                    if look == step:
                        await made.history.record_present()
                    await made.history.record(event)
                if look == len(changes):
                    await made.history.record_present()
                found = [(await made.history.at(None, moment)).instructions for moment in moments]
                told.add(tuple(found))
                if look is not None:
                    assert 0 == await made.history.record_present()
    [(before, one, _, two, *_)] = told
    assert {(None, one, one, two, one, one)} == told
    assert 3 == len({before, one, two})


async def test_a_rig_has_the_towns_conventions_and_its_own(tmp_path: Path) -> None:
    """What changes in one rig changes nothing for another, nor for the town; formulas have a hash of their own."""
    town = make_town(tmp_path / "gt", "harbor", "lantern")
    async with desk(tmp_path / "state", town) as made:
        history = made.history
        await history.record(changed("CLAUDE.md", "t", None, AT))
        before = [await history.at(rig, AT + HOUR) for rig in (None, "harbor", "lantern")]
        await history.record(changed("harbor/mayor/rig/CLAUDE.md", "h", None, AT, "harbor"))
        path = f"lantern/mayor/rig/{FORMULA}"
        await history.record(FormulaChanged(at=AT, seen_by="watch", name="mol-x", path=path, sha256="f"))
        after = [await history.at(rig, AT + HOUR) for rig in (None, "harbor", "lantern")]
        assert [False, True, False] == [a.instructions != b.instructions for a, b in zip(before, after, strict=True)]
        assert [None, None] == [after[0].formulas, after[1].formulas]
        assert after[2].formulas is not None
        assert None is (await history.at(None, AT - HOUR)).instructions


async def test_the_first_look_finds_what_was_there_and_later_ones_what_is_new(tmp_path: Path) -> None:
    """A file that appears while nobody looks was not in force before; one that went is in force no more."""
    town = make_town(tmp_path / "gt", "harbor")
    rules = write(town / "CLAUDE.md", "one\n")
    write(town / FORMULA, "formula = 'x'\n")
    async with desk(tmp_path / "state", town, gt_version="v1.0.1", clock=AT.timestamp()) as made:
        before = await made.history.at("harbor", AT - HOUR)
        assert (True, "v1.0.1") == (None not in (before.instructions, before.formulas), before.gt_version)
        assert 0 == await made.history.record_present()
    async with desk(tmp_path / "state", town, gt_version="v1.1.0", clock=(AT + HOUR).timestamp()) as made:
        write(rules, "two\n")
        write(town / "AGENTS.md", "new\n")
        (town / FORMULA).unlink()
        assert 4 == await made.history.record_present()
        assert before == await made.history.at("harbor", AT)
        after = await made.history.at("harbor", None)
        assert (None, "v1.1.0") == (after.formulas, after.gt_version)
        write(rules, "one\n")
        (town / "AGENTS.md").unlink()
    async with desk(tmp_path / "state", town, gt_version="v1.1.0", clock=(AT + 2 * HOUR).timestamp()) as made:
        assert 2 == await made.history.record_present()
        assert before.instructions == (await made.history.at("harbor", None)).instructions


async def test_a_town_without_gt_has_no_version(tmp_path: Path) -> None:
    """And is looked at once: an unknown version is a record too."""
    town = make_town(tmp_path / "gt")
    database = Database.open(tmp_path / "state.db")
    asked: list[Path] = []

    async def version(root: Path) -> str | None:
        asked.append(root)
        return None

    try:
        for _ in range(3):
            history = ConventionHistory(database, lambda: load_town(town), lambda: 1.0, version)
            assert None is (await history.at(None, None)).gt_version
        assert [town] == asked
    finally:
        database.close()


async def test_a_file_that_keeps_its_old_times_is_in_force_from_when_it_came(tmp_path: Path) -> None:
    """As after `cp -p`, `mv` or unpacking: by the time of its content it would be older than what it replaced."""
    town = make_town(tmp_path / "gt")
    rules = write(town / "CLAUDE.md", "one\n")
    async with desk(tmp_path / "state", town) as made:
        await made.history.record_present()
        first = await made.history.at(None, None)
        os.utime(write(town / "old", "two\n"), (1, 1))
        (town / "old").rename(rules)
        assert 1 == await made.history.record_present()
        assert first != await made.history.at(None, None)
        rules.unlink()
        assert 1 == await made.history.record_present()
        [*_, (came, two), (went, gone)] = await made.rows(
            "SELECT since, sha256 FROM conventions WHERE path = 'CLAUDE.md' ORDER BY since"
        )
        assert (True, None) == (two is not None, gone)
        assert START <= float(str(came)) <= float(str(went)) <= time.time()
