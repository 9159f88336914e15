"""The sweep, over real transcripts and a real state file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.errors import Unreachable
from gtftd.schemas.event import Envelope, event_id
from gtftd.schemas.settings import SweepSettings
from gtftd.sources import strays
from gtftd.sources.strays import TranscriptScan
from gtftd.sources.surroundings import Surroundings
from gtftd.sources.sweep import Beads, Sweep
from gtftd.town.bead_rows import ClosedBead
from gtftd.town.layout import load_town
from gtftd.town.transcript import peek_transcript
from tests.support.sources import facts, make_town, opened, running, value

NOW = 1_800_000_000.0
HOUR = 3600.0


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return make_town(tmp_path / "town", "gastown").resolve()


def transcript(tmp_path: Path, session: str, cwd: Path | str, age_s: float = HOUR, account: str = "claude") -> Path:
    """A session that began and was last written `age_s` ago."""
    folder = tmp_path / account / "projects" / "-some-project"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session}.jsonl"
    at = datetime.fromtimestamp(NOW - age_s, UTC).isoformat().replace("+00:00", "Z")
    said = {"type": "user", "sessionId": session, "cwd": str(cwd), "timestamp": at, "message": {"content": "hi"}}
    path.write_text(json.dumps(said) + "\n")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


@dataclass
class RecordedBeads:
    """ClosedBeads from a list, as a server would answer; it keeps what it was asked."""

    closed: list[ClosedBead] = field(default_factory=list)
    opened: dict[str, int] = field(default_factory=dict)
    is_down: bool = False
    asked: list[datetime] = field(default_factory=list)

    async def closed_since(self, database: str, after: datetime) -> Sequence[ClosedBead]:
        if self.is_down:
            raise Unreachable("the beads server does not answer")
        self.asked.append(after)
        return [bead for bead in self.closed if bead.database == database and bead.closed_at >= after]

    async def episodes(self, database: str, beads: Sequence[str]) -> Mapping[str, int]:
        return {bead: self.opened[bead] for bead in beads if bead in self.opened}


def closed_bead(bead: str, age_s: float = HOUR, assignee: str | None = "gastown/polecats/nux") -> ClosedBead:
    at = datetime.fromtimestamp(NOW - age_s, UTC)
    return ClosedBead("hq", bead, "a title", "task", assignee, "done", at)


def sweep(
    around: Surroundings, tmp_path: Path, beads: RecordedBeads | None = None, living: frozenset[str] | None = None
) -> Sweep:
    async def sessions() -> frozenset[str] | None:
        return living

    async def databases() -> Sequence[str]:
        return ["down", "hq"] if beads and beads.is_down else ["hq"]

    return Sweep(
        around,
        SweepSettings(),
        transcripts=tmp_path / "spool" / "transcripts",
        tmux_sessions=sessions,
        beads=Beads(beads, databases) if beads else None,
    )


async def record_session(around: Surroundings, session: str, **columns: object) -> None:
    row = {"session_id": session, "seen_by": "hook", "started_at": NOW - 2 * HOUR} | columns
    names, marks = ",".join(row), ",".join("?" * len(row))
    await around.database.write(
        lambda connection: connection.execute(f"INSERT INTO sessions ({names}) VALUES ({marks})", list(row.values()))
    )


async def record_end(around: Surroundings, session: str) -> None:
    sql = "INSERT INTO session_ends (session_id, at, reason, died) VALUES (?, ?, 'exit', 0)"
    await around.database.write(lambda connection: connection.execute(sql, (session, NOW - HOUR)))


async def record_close(around: Surroundings, bead: str, at: float, episode: int = 1) -> None:
    row = (bead, episode, "hq", at, "t", "task")
    sql = "INSERT INTO closes (bead, episode, database, closed_at, title, issue_type) VALUES (?,?,?,?,?,?)"
    await around.database.write(lambda connection: connection.execute(sql, row))


async def start_in_the_past(around: Surroundings) -> None:
    """Our first start was a day ago."""
    sql = "INSERT INTO cursors VALUES ('sweep', ?)"
    await around.database.write(lambda connection: connection.execute(sql, (json.dumps({"since": NOW - 86_400}),)))


def clock() -> float:
    return NOW


def sessions(found: list[Envelope]) -> list[str]:
    return sorted(str(one.data["session_id"]) for one in found)


async def test_an_unknown_session_of_the_town_is_found_once(town: Path, tmp_path: Path) -> None:
    """Who worked there follows from the working directory."""
    cwd = town / "gastown" / "polecats" / "nux" / "gastown"
    path = transcript(tmp_path, "s-1", cwd)
    with opened(tmp_path, town, clock) as around:
        assert 1 == await sweep(around, tmp_path).step()
        (found,) = await facts(around)
        assert "gtftd.session.started.v1" == found.type
        expected = {
            "at": "2027-01-15T07:00:00Z",
            "seen_by": "sweep",
            "session_id": "s-1",
            "transcript_path": str(path),
            "start": "unknown",
            "role": "polecat",
            "rig": "gastown",
            "actor": "gastown/polecats/nux",
            "cwd": str(cwd),
        }
        assert expected == {key: value for key, value in found.data.items() if value is not None}
        await around.outbox.remove(await around.outbox.head())
        assert 0 == await sweep(around, tmp_path).step()
        assert 1 == value(around.metrics, "gtftd_missed_total", what="session")


async def test_what_is_not_missed_is_left_alone(town: Path, tmp_path: Path) -> None:
    """Known, too young, too old, another place, a side conversation, no transcript at all."""
    transcript(tmp_path, "known", town / "mayor")
    transcript(tmp_path, "young", town / "mayor", age_s=60)
    transcript(tmp_path, "old", town / "mayor", age_s=15 * 86_400)
    transcript(tmp_path, "elsewhere", "/home/somebody/else")
    transcript(tmp_path, "beside", f"{town}-beside/mayor")
    transcript(tmp_path, "outside", f"{town}/mayor/../../else")
    transcript(tmp_path, "agent-1a2b", town / "mayor")
    (tmp_path / "claude" / "projects" / "-some-project" / "torn.jsonl").write_bytes(b"\xff\0{")
    with opened(tmp_path, town, clock) as around:
        await record_session(around, "known", started_at=NOW)
        assert 0 == await sweep(around, tmp_path).step()
        assert [] == await facts(around)


async def test_sessions_of_every_account_are_found(town: Path, tmp_path: Path) -> None:
    """mayor/accounts.json names the folders."""
    accounts = {"version": 1, "accounts": {"work": {"config_dir": str(tmp_path / "work")}}}
    (town / "mayor" / "accounts.json").write_text(json.dumps(accounts))
    transcript(tmp_path, "s-1", town / "mayor")
    transcript(tmp_path, "s-2", town / "deacon", account="work")
    with opened(tmp_path, town, clock) as around:
        await sweep(around, tmp_path).step()
        assert ["s-1", "s-2"] == sessions(await facts(around))


async def test_a_quiet_session_has_ended(town: Path, tmp_path: Path) -> None:
    """Unless its tmux session lives, or a transcript, by either name, was written to lately."""
    living = frozenset({"gt-living"})
    spooled = tmp_path / "spool" / "transcripts"
    spooled.mkdir(parents=True)
    with opened(tmp_path, town, clock) as around:
        quiet = transcript(tmp_path, "quiet", town / "mayor")
        fresh = transcript(tmp_path, "fresh", "/moved", age_s=60)
        await record_session(around, "quiet", transcript_path=str(quiet), tmux_session="gt-dead")
        await record_session(around, "unknown-tmux", transcript_path="/not/there\0")
        await record_session(around, "living", tmux_session="gt-living")
        await record_session(around, "fresh", transcript_path=str(fresh), tmux_session="gt-dead")
        await record_session(around, "linked", transcript_path=str(quiet))
        await record_session(around, "young", started_at=NOW - 60)
        await record_session(around, "ended")
        await record_end(around, "ended")
        (spooled / "linked.jsonl").write_text("")
        os.utime(spooled / "linked.jsonl", (NOW, NOW))
        assert 2 == await sweep(around, tmp_path, living=living).step()
        found = await facts(around)
        assert ["quiet", "unknown-tmux"] == sessions(found)
        one = next(one for one in found if one.data["session_id"] == "quiet")
        assert ("quiet", "gt-dead", "2027-01-15T07:00:00Z") == (
            one.data["reason"],
            one.data["tmux_session"],
            one.data["at"],
        )
        assert 0 == await sweep(around, tmp_path, living=living).step()


async def test_while_tmux_cannot_be_asked_its_sessions_may_live(town: Path, tmp_path: Path) -> None:
    """They are taken for ended after a day without a sign; those that are in no tmux after the usual time."""
    with opened(tmp_path, town, clock) as around:
        await record_session(around, "no-tmux")
        await record_session(around, "may-live", tmux_session="gt-nux", started_at=NOW - 23 * HOUR)
        await record_session(around, "long-gone", tmux_session="gt-max", started_at=NOW - 25 * HOUR)
        assert 2 == await sweep(around, tmp_path, living=None).step()
        assert {"no-tmux", "long-gone"} == set(sessions(await facts(around)))


async def test_a_session_that_woke_up_can_fall_quiet_again(town: Path, tmp_path: Path) -> None:
    """Another end, another fact."""
    now = NOW
    path = transcript(tmp_path, "s-1", town / "mayor")
    with opened(tmp_path, town, lambda: now) as around:
        await record_session(around, "s-1", transcript_path=str(path))
        assert 1 == await sweep(around, tmp_path).step()
        os.utime(path, (NOW + HOUR, NOW + HOUR))
        now = NOW + 3 * HOUR
        assert 1 == await sweep(around, tmp_path).step()
        assert 2 == len({one.id for one in await facts(around)})


async def test_a_missed_close_is_told_with_the_id_that_the_poller_uses(town: Path, tmp_path: Path) -> None:
    """Then the bus and the ledger know it as the same close."""
    beads = RecordedBeads([closed_bead("hq-1"), closed_bead("hq-2")], opened={"hq-2": 3})
    with opened(tmp_path, town, clock) as around:
        await start_in_the_past(around)
        assert 2 == await sweep(around, tmp_path, beads).step()
        one, two = await facts(around)
        assert event_id("bead.closed", "hq", "hq-1", 1) == one.id
        assert event_id("bead.closed", "hq", "hq-2", 3) == two.id
        assert ("gastown/polecats/nux", 1, "done") == (one.data["assignee"], one.data["episode"], one.data["reason"])
        assert 0 == await sweep(around, tmp_path, beads).step()
        assert 2 == value(around.metrics, "gtftd_missed_total", what="close")


async def test_closes_that_are_no_miss_are_left_alone(town: Path, tmp_path: Path) -> None:
    """On record, too young, nobody's, before our first start, and closed once more without a reopening."""
    beads = RecordedBeads(
        [
            closed_bead("hq-known"),
            closed_bead("hq-young", age_s=60),
            closed_bead("hq-nobody", assignee=None),
            closed_bead("hq-ancient", age_s=2 * 86_400),
            closed_bead("hq-twice"),
        ],
        opened={"hq-twice": 1},
    )
    with opened(tmp_path, town, clock) as around:
        await start_in_the_past(around)
        await record_close(around, "hq-known", NOW - HOUR - 1.5)
        await record_close(around, "hq-twice", NOW - 5 * HOUR)
        assert 0 == await sweep(around, tmp_path, beads).step()


async def test_a_missed_close_after_a_reopening_is_told(town: Path, tmp_path: Path) -> None:
    """The history says that the bead was opened again."""
    beads = RecordedBeads([closed_bead("hq-1")], opened={"hq-1": 2})
    with opened(tmp_path, town, clock) as around:
        await start_in_the_past(around)
        await record_close(around, "hq-1", NOW - 5 * HOUR)
        assert 1 == await sweep(around, tmp_path, beads).step()
        assert [2] == [one.data["episode"] for one in await facts(around)]


async def test_the_first_start_replays_no_history(town: Path, tmp_path: Path) -> None:
    """What was closed before gtftd came is not missed; later starts remember when that was."""
    now = NOW
    beads = RecordedBeads([closed_bead("hq-1")])
    with opened(tmp_path, town, lambda: now) as around:
        assert 0 == await sweep(around, tmp_path, beads).step()
        now = NOW + HOUR
        await sweep(around, tmp_path, beads).step()
        assert [datetime.fromtimestamp(NOW, UTC)] * 2 == beads.asked


async def test_a_server_that_is_down_stops_only_its_own_part(town: Path, tmp_path: Path) -> None:
    """Sessions are found all the same, and closes by a later sweep."""
    transcript(tmp_path, "s-1", town / "mayor")
    beads = RecordedBeads([closed_bead("hq-1")], is_down=True)
    with opened(tmp_path, town, clock) as around:
        await start_in_the_past(around)
        assert 1 == await sweep(around, tmp_path, beads).step()
        condition = {"source": "sweep", "condition": "beads.unreachable"}
        assert 2 == value(around.metrics, "gtftd_source_errors_total", **condition)
        beads.is_down = False
        assert 1 == await sweep(around, tmp_path, beads).step()


async def test_a_second_scan_opens_no_file_again(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that grew and had not said where they are."""
    for number in range(50):
        transcript(tmp_path, f"s-{number}", town / "mayor")
    silent = transcript(tmp_path, "silent", town / "mayor")
    said = silent.read_text()
    silent.write_text("\n")
    opened_files: list[Path] = []

    def peek(path: Path) -> object:
        opened_files.append(path)
        return peek_transcript(path)

    monkeypatch.setattr(strays, "peek_transcript", peek)
    scan, loaded = TranscriptScan(), load_town(town)
    assert 50 == len(scan.scan(loaded, 0))
    assert 51 == len(opened_files)
    assert 50 == len(scan.scan(loaded, 0))
    assert 51 == len(opened_files)
    silent.write_text("\n" + said)
    assert 51 == len(scan.scan(loaded, 0))
    assert [silent] == opened_files[51:]


async def test_it_runs_by_itself(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after the start, and it says that it is well."""
    monkeypatch.setattr("gtftd.sources.sweep.FIRST_AFTER_S", 0.01)
    transcript(tmp_path, "s-1", town / "mayor")
    with opened(tmp_path, town, clock) as around:
        async with running(sweep(around, tmp_path)):
            async with asyncio.timeout(10):
                while [one.component for one in around.health.board()] != ["sweep"]:
                    await asyncio.sleep(0.01)
        assert around.health.is_ok
