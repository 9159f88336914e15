"""The sweep over the sessions of Codex and OpenCode: real files, a real database, and a real state file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.schemas.event import Envelope
from gtftd.schemas.settings import SweepSettings
from gtftd.sources.strays import TranscriptScan
from gtftd.sources.surroundings import Surroundings
from gtftd.sources.sweep import Sweep
from gtftd.town import opencode_database as store
from gtftd.town.layout import load_town
from tests.support.sources import facts, make_town, opened
from tests.support.transcripts_codex import ID as CODEX_ID
from tests.support.transcripts_codex import RolloutBuilder
from tests.support.transcripts_opencode import ID, OpenCodeBuilder, SecondBuilder

NOW = 1_800_000_000.0
HOUR = 3600.0
Made = Callable[[Path, Path, float], tuple[str, Path]]


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("OPENCODE_DB", raising=False)
    return make_town(tmp_path / "town", "gastown").resolve()


def clock() -> float:
    return NOW


def sweep(around: Surroundings, tmp_path: Path) -> Sweep:
    async def sessions() -> frozenset[str] | None:
        return frozenset()

    return Sweep(
        around, SweepSettings(), transcripts=tmp_path / "spool" / "transcripts", tmux_sessions=sessions, beads=None
    )


def codex(tmp_path: Path, cwd: Path, age_s: float) -> tuple[str, Path]:
    at = datetime.fromtimestamp(NOW - age_s, UTC)
    rollout = RolloutBuilder(cwd=str(cwd), start=at)
    rollout.user("hello")
    path = rollout.write(tmp_path / "CODEX_HOME")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return CODEX_ID, path


def _opencode(cwd: Path, age_s: float) -> OpenCodeBuilder:
    session = OpenCodeBuilder(cwd=str(cwd), start=datetime.fromtimestamp(NOW - age_s, UTC))
    session.user("hello")
    return session


def opencode_files(tmp_path: Path, cwd: Path, age_s: float) -> tuple[str, Path]:
    path = _opencode(cwd, age_s).write(tmp_path / "XDG_DATA_HOME" / "opencode")
    for file in (tmp_path / "XDG_DATA_HOME").rglob("*"):
        os.utime(file, (NOW - age_s, NOW - age_s))
    return ID, path


def opencode_database(tmp_path: Path, cwd: Path, age_s: float) -> tuple[str, Path]:
    return ID, _opencode(cwd, age_s).write_database(tmp_path / "XDG_DATA_HOME" / "opencode")


def opencode_second(tmp_path: Path, cwd: Path, age_s: float) -> tuple[str, Path]:
    session = SecondBuilder(cwd=str(cwd), start=datetime.fromtimestamp(NOW - age_s, UTC))
    session.user("hello")
    return ID, session.write(tmp_path / "XDG_DATA_HOME" / "opencode")


PROGRAMS: Sequence[Made] = (codex, opencode_files, opencode_database, opencode_second)
each = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: str(make.__name__))


def told(envelope: Envelope) -> dict[str, object]:
    return {key: value for key, value in envelope.data.items() if value is not None}


@each
async def test_a_session_that_no_hook_told_of_is_found_once(make: Made, town: Path, tmp_path: Path) -> None:
    """Who worked there follows from the working directory, and the commit from the file that says it."""
    cwd = town / "gastown" / "crew" / "max"
    session, path = make(tmp_path, cwd, HOUR)
    with opened(tmp_path, town, clock) as around:
        assert 1 == await sweep(around, tmp_path).step()
        (found,) = await facts(around)
        expected = {
            "at": "2027-01-15T07:00:00Z",
            "seen_by": "sweep",
            "session_id": session,
            "transcript_path": str(path),
            "start": "unknown",
            "role": "crew",
            "rig": "gastown",
            "actor": "gastown/crew/max",
            "cwd": str(cwd),
        }
        assert expected | ({"git_head": "a" * 40} if make is codex else {}) == told(found)
        await around.outbox.remove(await around.outbox.head())
        assert 0 == await sweep(around, tmp_path).step()


@each
async def test_what_is_not_missed_is_left_alone(make: Made, town: Path, tmp_path: Path) -> None:
    """Outside the town, too young, and too old."""
    for number, (cwd, age_s) in enumerate(((tmp_path, HOUR), (town / "mayor", 60), (town / "mayor", 15 * 86_400))):
        home = tmp_path / str(number)
        make(home, cwd, age_s)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CODEX_HOME", "XDG_DATA_HOME"):
                patch.setenv(name, str(home / name))
            with opened(tmp_path, town, clock) as around:
                assert 0 == await sweep(around, tmp_path).step()


@each
async def test_a_quiet_session_has_ended(make: Made, town: Path, tmp_path: Path) -> None:
    """When it was written last is seen in each store."""
    session, path = make(tmp_path, town / "mayor", HOUR)
    with opened(tmp_path, town, clock) as around:
        sql = "INSERT INTO sessions (session_id, seen_by, started_at, transcript_path) VALUES (?, 'hook', ?, ?)"
        row = (session, NOW - 2 * HOUR, str(path))
        await around.database.write(lambda connection: connection.execute(sql, row))
        assert 1 == await sweep(around, tmp_path).step()
        (found,) = await facts(around)
        assert ("gtftd.session.ended.v1", session, "quiet") == (
            found.type, found.data["session_id"], found.data["reason"],
        )  # fmt: skip
        assert str(found.data["at"]).startswith("2027-01-15T07:00")


@each
async def test_a_session_that_speaks_has_not_ended(make: Made, town: Path, tmp_path: Path) -> None:
    """Also when only a part of its last message was written anew."""
    session, path = make(tmp_path, town / "mayor", HOUR)
    if make in (opencode_database, opencode_second):
        table = "part" if make is opencode_database else "session_message"
        with contextlib.closing(sqlite3.connect(path.parent)) as database:
            database.execute(f"UPDATE {table} SET time_updated = ?", (int((NOW - 60) * 1000),))
            database.commit()
    else:
        part = next((tmp_path / "XDG_DATA_HOME").rglob("part/*/*.json"), path)
        os.utime(part, (NOW - 60, NOW - 60))
    with opened(tmp_path, town, clock) as around:
        sql = "INSERT INTO sessions (session_id, seen_by, started_at, transcript_path) VALUES (?, 'hook', ?, ?)"
        row = (session, NOW - 2 * HOUR, str(path))
        await around.database.write(lambda connection: connection.execute(sql, row))
        assert 0 == await sweep(around, tmp_path).step()


async def test_sub_sessions_are_nobodys(town: Path, tmp_path: Path) -> None:
    """Neither a sub-agent of Codex nor what OpenCode's task tool started."""
    at = datetime.fromtimestamp(NOW - HOUR, UTC)
    path = RolloutBuilder(cwd=str(town / "mayor"), start=at, thread_source="subagent").write(tmp_path / "CODEX_HOME")
    os.utime(path, (NOW - HOUR, NOW - HOUR))
    for number, write in enumerate((OpenCodeBuilder.write, OpenCodeBuilder.write_database)):
        session = OpenCodeBuilder(f"ses_{number}", cwd=str(town / "mayor"), start=at, parentID="ses_parent")
        write(session, tmp_path / "XDG_DATA_HOME" / "opencode")
    with opened(tmp_path, town, clock) as around:
        assert 0 == await sweep(around, tmp_path).step()


async def test_a_database_is_asked_again_only_when_it_was_written_to(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of what is quiet costs two stats."""
    opencode_database(tmp_path, town / "mayor", HOUR)
    asked: list[Path] = []
    connect = store.connect

    def count(path: Path) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        asked.append(path)
        return connect(path)

    monkeypatch.setattr(store, "connect", count)
    monkeypatch.setattr("gtftd.town.opencode_store.connect", count)
    scan, loaded = TranscriptScan(), load_town(town)
    assert [ID] == list(scan.scan(loaded, 0))
    asked.clear()
    assert [ID] == list(scan.scan(loaded, 0))
    assert [] == asked
    session = OpenCodeBuilder("ses_more", cwd=str(town / "mayor"))
    session.write_database(tmp_path / "XDG_DATA_HOME" / "opencode")
    assert {ID, "ses_more"} == set(scan.scan(loaded, 0))
