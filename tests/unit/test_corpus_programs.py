"""One session in the format of each program, from the evidence to an entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gtftd.schemas.town import BeadAssigned, BeadClosed, SessionStarted
from tests.support.corpus import bench
from tests.support.sources import make_town
from tests.support.transcripts import START, TranscriptBuilder
from tests.support.transcripts_codex import RolloutBuilder
from tests.support.transcripts_opencode import OpenCodeBuilder, SecondBuilder

ACTOR = "harbor/crew/max"
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cD1eF3hJ5"
CLOSE = "bd close hb-a1 --reason 'Fixed: 0123abcd'"


@dataclass(frozen=True)
class Told:
    """What a program wrote of a session that works on hb-a1 and then on something else."""

    session_id: str
    path: Path
    closed_at: datetime


def claude(town: Path) -> Told:
    session = TranscriptBuilder(cwd=str(town / "harbor" / "crew" / "max"))
    session.user("Work on hb-a1")
    session.say("On it.")
    session.bash(f"echo {TOKEN}", TOKEN)
    session.bash(CLOSE)
    closed_at = session.now
    session.user("And now for something else")
    session.say("Sure.")
    return Told(session.session_id, session.write(town / "claude"), closed_at)


def codex(town: Path) -> Told:
    session = RolloutBuilder(cwd=str(town / "harbor" / "crew" / "max"))
    session.user("Work on hb-a1")
    session.say("On it.")
    session.shell(f"echo {TOKEN}", TOKEN)
    session.exec(CLOSE)
    closed_at = session.now
    session.user("And now for something else")
    session.say("Sure.")
    return Told(session.session_id, session.write(town / "codex"), closed_at)


def opencode(town: Path, *, in_database: bool = False) -> Told:
    session = OpenCodeBuilder(cwd=str(town / "harbor" / "crew" / "max"))
    session.user("Work on hb-a1")
    session.say("On it.")
    session.bash(f"echo {TOKEN}", TOKEN)
    session.bash(CLOSE)
    closed_at = session.now
    session.user("And now for something else")
    session.say("Sure.")
    write = session.write_database if in_database else session.write
    return Told(session.session_id, write(town / "data" / "opencode"), closed_at)


def opencode_database(town: Path) -> Told:
    return opencode(town, in_database=True)


def opencode_second(town: Path) -> Told:
    session = SecondBuilder(cwd=str(town / "harbor" / "crew" / "max"))
    session.user("Work on hb-a1")
    session.say("On it.")
    session.bash(f"echo {TOKEN}", TOKEN)
    session.bash(CLOSE)
    closed_at = session.now
    session.user("And now for something else")
    session.say("Sure.")
    return Told(session.session_id, session.write(town / "data" / "opencode"), closed_at)


PROGRAMS = [claude, codex, opencode, opencode_database, opencode_second]


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "found"])
async def test_a_session_of_any_program_becomes_an_entry(
    make: Callable[[Path], Told], is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at its own closing call, scrubbed, and with the model's own turns to learn from; found by id alone too."""
    town = make_town(tmp_path / "town", "harbor").resolve()
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(town / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(town / "codex"))
    monkeypatch.setenv("XDG_DATA_HOME", str(town / "data"))
    monkeypatch.delenv("OPENCODE_DB", raising=False)
    told = make(town)
    cwd = str(town / "harbor" / "crew" / "max")
    started = SessionStarted(
        at=START, seen_by="sweep", session_id=told.session_id, cwd=cwd, role="crew", rig="harbor", actor=ACTOR,
        transcript_path=str(told.path) if is_named else None,
    )  # fmt: skip
    assigned = BeadAssigned(at=START, seen_by="feed", bead="hb-a1", actor=ACTOR)
    closed = BeadClosed(
        at=told.closed_at, seen_by="poll", database="harbor", bead="hb-a1", assignee=ACTOR, closed_by=ACTOR,
        episode=1, status="closed", reason="Fixed: 0123abcd", title="A task",
    )  # fmt: skip
    later = (told.closed_at + timedelta(days=1)).timestamp()
    async with bench(tmp_path / "state", town, clock=lambda: later) as here:
        await here.tell(started, assigned, closed)
        (entry,) = here.entries()
    said = "\n".join(message.content for message in entry.messages)
    calls = [call for message in entry.messages for call in message.tool_calls]
    assert ("hb-a1", told.session_id) == (entry.bead, entry.session_id)
    assert "On it." in said and "something else" not in said
    assert TOKEN not in entry.model_dump_json() and entry.redactions
    assert 2 == len(calls) and CLOSE.split("--", maxsplit=1)[0].strip() in str(calls[-1].arguments)
    assert all(message.role == "assistant" for message in entry.messages if message.trainable)
