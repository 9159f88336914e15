"""The watcher of instructions, formulas and settings, on real folders."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import datetime
from pathlib import Path

import pytest

from gtftd.schemas.event import Envelope
from gtftd.schemas.settings import WatchSettings
from gtftd.sources.surroundings import Surroundings
from gtftd.sources.watch import Watcher
from gtftd.town.layout import load_town
from gtftd.town.watched import folders_to_watch, places
from tests.support.source_child import kill_at
from tests.support.sources import facts, fill_disk, free_disk, make_town, opened, running, until, value, write_rigs


@pytest.fixture
def town(tmp_path: Path) -> Path:
    root = make_town(tmp_path / "town", "gastown")
    for folder in ("settings", "roles", "directives", "formula-overlays", ".beads/formulas"):
        (root / folder).mkdir(parents=True)
    (root / "CLAUDE.md").write_text("one")
    return root


def watcher(around: Surroundings, half_written_s: float = 0.5, rescan_s: float = 60) -> Watcher:
    return Watcher(around, WatchSettings(debounce_s=0.03, half_written_s=half_written_s, rescan_s=rescan_s))


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def paths(found: list[Envelope]) -> list[tuple[str, object]]:
    return [(one.data["path"], one.data["sha256"]) for one in found]


async def settle(source: Watcher, looks: int = 4) -> None:
    for _ in range(looks):
        await source.step()
        await asyncio.sleep(0.04)


async def test_changes_are_told_with_kind_and_rig(town: Path, tmp_path: Path) -> None:
    """Every place of a town and of a rig; folders that do not exist yet are seen when they appear."""
    wanted = {
        "CLAUDE.md": "claude_md",
        "AGENTS.md": "agents_md",
        "CONTEXT.md": "context_md",
        "settings/config.json": "settings",
        "roles/polecat.toml": "role",
        "directives/polecat.md": "directive",
        "formula-overlays/mol-x.toml": "overlay",
        "mayor/daemon.json": "town",
        ".beads/formulas/mol-x.formula.toml": "mol-x",
        ".beads/formulas/.installed.json": ".installed",
        "gastown/CLAUDE.md": "claude_md",
        "gastown/mayor/rig/AGENTS.md": "agents_md",
        "gastown/settings/config.json": "settings",
        "gastown/directives/crew.md": "directive",
        "gastown/mayor/rig/.beads/formulas/own.formula.json": "own",
    }
    with opened(tmp_path, town) as around:
        async with running(watcher(around)):
            await asyncio.sleep(0.3)
            for path in wanted:
                (town / path).parent.mkdir(parents=True, exist_ok=True)
                (town / path).write_text('{"a": 1}' if path.endswith("json") else "a = 1")
            found = await until(around, lambda found: len(found) == len(wanted))
    assert wanted == {one.data["path"]: one.data.get("kind") or one.data["name"] for one in found}
    assert {path: "gastown" for path in wanted if path.startswith("gastown/") and "formulas" not in path} == {
        one.data["path"]: one.data["rig"] for one in found if one.data.get("rig")
    }
    assert all(one.data["valid"] for one in found)
    claude = next(one for one in found if one.data["path"] == "CLAUDE.md")
    assert (sha("one"), sha("a = 1")) == (claude.data["previous_sha256"], claude.data["sha256"])


async def test_the_first_start_tells_nothing_and_a_later_one_what_changed_meanwhile(town: Path, tmp_path: Path) -> None:
    """While the daemon was down: changed, new, gone."""
    (town / "AGENTS.md").write_text("agents")
    with opened(tmp_path, town) as around:
        await settle(watcher(around))
        assert [] == await facts(around)
        (town / "CLAUDE.md").write_text("two")
        (town / "AGENTS.md").unlink()
        (town / "roles" / "crew.toml").write_text("a = 1")
        await settle(watcher(around))
        expected = {("CLAUDE.md", sha("two")), ("AGENTS.md", None), ("roles/crew.toml", sha("a = 1"))}
        assert expected == set(paths(await facts(around)))
        await settle(watcher(around))
        assert 3 == len(await facts(around))


async def test_equal_bytes_are_no_change(town: Path, tmp_path: Path) -> None:
    """A touch, a rewrite, a rename of the same; what editors put aside; other files."""
    with opened(tmp_path, town) as around:
        source = watcher(around)
        await settle(source)
        os.utime(town / "CLAUDE.md")
        await settle(source, 2)
        (town / "CLAUDE.md").write_text("one")
        await settle(source, 2)
        (town / "new").write_text("one")
        (town / "new").rename(town / "CLAUDE.md")
        (town / "settings" / ".config.json.swp").write_text("x")
        (town / "settings" / ".#a.json").write_text("x")
        (town / "README.md").write_text("x")
        await settle(source)
        assert [] == await facts(around)


async def test_going_back_is_a_new_fact(town: Path, tmp_path: Path) -> None:
    """One, two, one, two: four contents, three changes, three ids."""
    with opened(tmp_path, town) as around:
        source = watcher(around)
        await settle(source)
        for content in ("two", "one", "two"):
            (town / "CLAUDE.md").write_text(content)
            await settle(source, 3)
        found = await facts(around)
        assert [sha("two"), sha("one"), sha("two")] == [one.data["sha256"] for one in found]
        assert 3 == len({one.id for one in found})


async def test_a_half_written_file_is_waited_for(town: Path, tmp_path: Path) -> None:
    """JSON written in two strokes is one valid change."""
    config = town / "settings" / "config.json"
    with opened(tmp_path, town) as around:
        async with running(watcher(around, half_written_s=20)):
            await asyncio.sleep(0.2)
            config.write_text('{"type": "town-')
            (town / "CLAUDE.md").write_text("")
            await asyncio.sleep(0.3)
            assert [] == await facts(around)
            config.write_text('{"type": "town-settings"}')
            (town / "CLAUDE.md").write_text("two")
            found = await until(around, lambda found: len(found) == 2)
    assert {("CLAUDE.md", sha("two")), ("settings/config.json", sha('{"type": "town-settings"}'))} == set(paths(found))
    assert [True, True] == [one.data["valid"] for one in found]


async def test_a_file_that_stays_broken_is_told_as_invalid(town: Path, tmp_path: Path) -> None:
    """Not parsable, not text, empty, nested without end, and far too large."""
    broken = {
        "settings/config.json": b"{",
        "settings/deep.json": b"[" * 100_000,
        "roles/crew.toml": b"a = ",
        "directives/crew.md": b"",
        "CLAUDE.md": b"x" * 5_000_000,
    }
    with opened(tmp_path, town) as around:
        async with running(watcher(around, half_written_s=0.2)):
            await asyncio.sleep(0.2)
            for path, content in broken.items():
                (town / path).write_bytes(content)
            found = await until(around, lambda found: len(found) == len(broken))
            (town / "settings" / "config.json").write_text("{}")
            await until(around, lambda found: len(found) == len(broken) + 1)
        found = await facts(around)
    assert dict.fromkeys(broken, False) == {one.data["path"]: one.data["valid"] for one in found[:-1]}
    assert ("settings/config.json", True) == (found[-1].data["path"], found[-1].data["valid"])


async def test_what_cannot_be_read_is_counted_and_changes_nothing(town: Path, tmp_path: Path) -> None:
    """A loop of links, a pipe, a folder, a name that is no text; the neighbours are told."""
    with opened(tmp_path, town) as around:
        source = watcher(around)
        await settle(source)
        (town / "CLAUDE.md").unlink()
        (town / "CLAUDE.md").symlink_to("AGENTS.md")
        (town / "AGENTS.md").symlink_to("CLAUDE.md")
        os.mkfifo(town / "settings" / "pipe.json")
        (town / "settings" / "folder.json").mkdir()
        (town / "roles" / os.fsdecode(b"\xff.toml")).write_text("a = 1")
        (town / "roles" / "good.toml").write_text("a = 1")
        await settle(source)
        assert ["roles/good.toml"] == [path for path, _ in paths(await facts(around))]
        assert 4 == value(around.metrics, "gtftd_source_errors_total", source="watch", condition="file.unreadable")


async def test_a_link_counts_as_what_it_points_to(town: Path, tmp_path: Path) -> None:
    """AGENTS.md is often a link to CLAUDE.md: both have changed."""
    (town / "AGENTS.md").symlink_to("CLAUDE.md")
    with opened(tmp_path, town) as around:
        source = watcher(around)
        await settle(source)
        (town / "CLAUDE.md").write_text("two")
        await settle(source)
        assert {("CLAUDE.md", sha("two")), ("AGENTS.md", sha("two"))} == set(paths(await facts(around)))


async def test_a_rig_that_joins_is_watched(town: Path, tmp_path: Path) -> None:
    """rigs.json may be half-written meanwhile; a rig that leaves is no deletion."""
    make_town(town, "gastown", "beads")
    write_rigs(town, "gastown")
    with opened(tmp_path, town) as around:
        async with running(watcher(around)):
            await asyncio.sleep(0.2)
            (town / "mayor" / "rigs.json").write_text('{"rigs"')
            await asyncio.sleep(0.1)
            write_rigs(town, "gastown", "beads")
            await until(around, lambda found: len(found) == 1)
            await asyncio.sleep(0.2)
            (town / "beads" / "CLAUDE.md").write_text("beads")
            found = await until(around, lambda found: len(found) == 2)
            assert ("beads/CLAUDE.md", sha("beads")) == paths(found)[-1]
            write_rigs(town, "gastown")
            found = await until(around, lambda found: len(found) == 3)
            await asyncio.sleep(0.2)
        assert ["mayor/rigs.json", "beads/CLAUDE.md", "mayor/rigs.json"] == [
            path for path, _ in paths(await facts(around))
        ]


async def test_without_notifications_the_folders_are_scanned(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later, not never."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("gtftd.sources.waker.awatch", refuse)
    with opened(tmp_path, town) as around:
        async with running(watcher(around, rescan_s=0.05)):
            await asyncio.sleep(0.2)
            (town / "CLAUDE.md").write_text("two")
            await until(around, lambda found: len(found) == 1)


def test_no_repository_is_watched_below_its_top(town: Path) -> None:
    """Worktrees of polecats hold whole repositories; not one folder in them is watched."""
    (town / "gastown" / "polecats" / "nux" / "gastown" / "src").mkdir(parents=True)
    loaded = load_town(town)
    watched = {path.relative_to(town).as_posix() for path in folders_to_watch(loaded, places(loaded))}
    expected = {".", "mayor", "settings", "roles", "directives", "formula-overlays", ".beads/formulas"}
    assert expected | {"gastown", "gastown/mayor/rig", "gastown/mayor/rig/.beads"} == watched


@pytest.mark.parametrize("point", ["watch.settled", "watch.committed"])
async def test_killed_anywhere_it_tells_a_change_once(town: Path, tmp_path: Path, point: str) -> None:
    """Sums and facts are one transaction."""
    with opened(tmp_path, town) as around:
        await settle(watcher(around))
    (town / "CLAUDE.md").write_text("two")
    assert kill_at(point, "watch", tmp_path, town)
    with opened(tmp_path, town) as around:
        before = await facts(around)
        await around.outbox.remove(await around.outbox.head())
        await settle(watcher(around))
        assert [("CLAUDE.md", sha("two"))] == paths(before + await facts(around))


async def test_a_full_disk_delays_a_change(town: Path, tmp_path: Path) -> None:
    """It is told when there is room, without a restart."""
    with opened(tmp_path, town) as around:
        async with running(watcher(around)):
            await asyncio.sleep(0.2)
            await fill_disk(around)
            for number in range(100):
                (town / "directives" / f"role-{number}.md").write_text(f"be good {number}")
            async with asyncio.timeout(10):
                while around.health.is_ok:
                    await asyncio.sleep(0.01)
            assert [("state", "disk.full")] == [
                (one.component, one.name) for one in around.health.board() if one.state == "degraded"
            ]
            await free_disk(around)
            await until(around, lambda found: len(found) == 100)


async def test_a_change_is_dated_when_the_file_came_to_be_so(town: Path, tmp_path: Path) -> None:
    """Not when we looked: nobody may have looked for a day. A file with old times came when it was moved there."""
    with opened(tmp_path, town) as around:
        await watcher(around).step()
        (town / "AGENTS.md").write_text("new")
        os.utime(town / "AGENTS.md", (1, 1))
        written = (town / "AGENTS.md").stat().st_ctime
        (town / "CLAUDE.md").unlink()
        gone = town.stat().st_ctime
        await asyncio.sleep(0.2)
        await settle(watcher(around))
        told = await facts(around)
    at = {str(one.data["path"]): datetime.fromisoformat(str(one.data["at"])).timestamp() for one in told}
    assert at == {"AGENTS.md": pytest.approx(written, abs=1e-5), "CLAUDE.md": pytest.approx(gone, abs=1e-5)}
