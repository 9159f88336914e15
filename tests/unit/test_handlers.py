"""The reactions, called as the runtime calls them, on real files: what becomes of a close, whatever is missing."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gtftd.corpus.reading import Reading, State
from gtftd.errors import NotReady, Unreachable
from gtftd.schemas.corpus import CollectionSkipped
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import (
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    BeadReopened,
    BeadUpdated,
    Seen,
    SessionEnded,
    SessionStarted,
)
from gtftd.town.layout import load_town
from gtftd.town.screen import socket_name
from gtftd.town.spool import Spool
from tests.support.corpus import Bench, bench
from tests.support.sources import make_town
from tests.support.transcripts import START, TranscriptBuilder

NUX = "harbor/polecats/nux"
SESSION = "0b9c2f0e-5f2e-4f0e-9f65-0d2a54a8c111"
LATER = START.timestamp() + 86_400


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return make_town(tmp_path / "town", "harbor", "lantern")


def later() -> float:
    return LATER


def started(
    session: str = SESSION, actor: str = NUX, *, at: datetime = START, path: Path | None = None, tmux: str = "ha-nux"
) -> SessionStarted:
    rig, role = (actor.split("/", maxsplit=1)[0], actor.split("/")[1].rstrip("s")) if "/" in actor else (None, actor)
    return SessionStarted(
        at=at, seen_by="hook", session_id=session, role=role, rig=rig, actor=actor, agent="claude", tmux_session=tmux,
        cwd=f"/t/{actor}", transcript_path=str(path) if path else None,
    )  # fmt: skip


def assigned(bead: str, actor: str = NUX, at: datetime = START, seen_by: Seen = "feed") -> BeadAssigned:
    return BeadAssigned(at=at, seen_by=seen_by, bead=bead, actor=actor)


def closed(
    bead: str,
    at: datetime,
    *,
    by: str | None = NUX,
    reason: str = "Fixed: it",
    seen_by: Seen = "poll",
    episode: int = 1,
) -> BeadClosed:
    return BeadClosed(
        at=at, seen_by=seen_by, database="harbor", bead=bead, title="A task", assignee=NUX, closed_by=by,
        reason=reason, episode=episode, status="closed",
    )  # fmt: skip


def session_of(folder: Path, *beads: str, session: str = SESSION) -> tuple[Path, dict[str, tuple[datetime, datetime]]]:
    """A transcript in which each bead is taken up and closed; from when to when."""
    builder = TranscriptBuilder(session)
    times = {}
    builder.user("Begin.")
    for bead in beads:
        begin = builder.now
        builder.bash(f"bd show {bead}")
        builder.say(f"Working on {bead}.")
        builder.bash(f"bd close {bead}")
        times[bead] = begin, builder.now - timedelta(seconds=4)
        builder.say(f"That was {bead}.")
    return builder.write(folder), times


def commands(here: Bench, bead: str) -> list[str]:
    (entry,) = [entry for entry in here.entries() if entry.bead == bead]
    return [str(call.arguments["command"]) for message in entry.messages for call in message.tool_calls]


async def test_two_beads_in_one_session_are_cut_apart(tmp_path: Path, town: Path) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1", "hb-2")
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path))
        for bead, (begin, end) in times.items():
            assert [] == await here.tell(assigned(bead, at=begin), closed(bead, end))
        assert ["bd show hb-1", "bd close hb-1"] == commands(here, "hb-1")
        assert ["bd show hb-2", "bd close hb-2"] == commands(here, "hb-2")


async def test_the_same_close_from_four_sources_gives_one_entry_and_one_fact(tmp_path: Path, town: Path) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1")
    sources: tuple[Seen, ...] = ("poll", "sweep", "emit", "hook")
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path), assigned("hb-1"))
        await here.tell(*[closed("hb-1", times["hb-1"][1], seen_by=source) for source in sources])
        assert 1 == len(here.entries())
        facts = await here.outbox.head()
        assert ["gtftd.fact.entry.stored"] == [fact.subject for fact in facts]


async def test_a_kill_between_row_and_ledger_loses_no_fact(tmp_path: Path, town: Path) -> None:
    """The fact lies beside the row; a second daemon that repeats the reaction adds none."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    events = (started(path=path), assigned("hb-1"), closed("hb-1", times["hb-1"][1]))
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(*events)
    async with bench(tmp_path / "state", town, clock=later) as again:
        await again.tell(*events)
        assert 1 == len(await again.outbox.head())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (CollectionSettings(enabled=False), "switched_off"),
        (CollectionSettings(roles=("crew",)), "not_selected"),
        (CollectionSettings(rigs=("lantern",)), "not_selected"),
        (CollectionSettings(skip_rigs=("harbor",)), "not_selected"),
        (CollectionSettings(skip_paths=("/t/harbor/*",)), "not_selected"),
    ],
)
async def test_collection_can_be_limited(tmp_path: Path, town: Path, settings: CollectionSettings, reason: str) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1")
    async with bench(tmp_path / "state", town, settings, clock=later) as here:
        told = await here.tell(started(path=path), assigned("hb-1"), closed("hb-1", times["hb-1"][1]))
        assert [CollectionSkipped(bead="hb-1", session_id=None, reason=reason)] == told
        assert [] == here.entries()


async def test_a_skip_says_what_was_missing(tmp_path: Path, town: Path) -> None:
    end = START + timedelta(minutes=5)
    async with bench(tmp_path / "state", town, clock=later) as here:
        (nobody,) = await here.tell(closed("hb-1", end))
        (nothing,) = await here.tell(started(), assigned("hb-2"), closed("hb-2", end))
        TranscriptBuilder().write(tmp_path / "claude")
        (empty,) = await here.tell(assigned("hb-3"), closed("hb-3", end))
        reasons = [skip.reason for skip in (nobody, nothing, empty) if isinstance(skip, CollectionSkipped)]
    assert ["no_session", "no_transcript", "empty"] == reasons


async def test_an_administrative_close_gives_no_entry(tmp_path: Path, town: Path) -> None:
    """One command of the mayor closes many; that is no work on them."""
    builder = TranscriptBuilder()
    builder.user("Clean up.")
    builder.bash("bd show hb-1")
    builder.bash("bd close hb-1 hb-2 --reason 'Stale: superseded'")
    path = builder.write(tmp_path / "claude")
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(actor="mayor", path=path))
        for bead in ("hb-1", "hb-2"):
            close = closed(bead, builder.now, by="mayor", reason="Stale: superseded")
            (skip,) = await here.tell(close.model_copy(update={"assignee": None}))
            assert isinstance(skip, CollectionSkipped)
        assert [] == here.entries()


async def test_a_close_waits_for_its_own_command(tmp_path: Path, town: Path) -> None:
    """The database is quicker than the transcript; once the line is there the entry ends with it."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:4]))
    now = times["hb-1"][1]
    close = closed("hb-1", now)
    async with bench(tmp_path / "state", town, clock=lambda: now.timestamp() + 0.1) as here:
        await here.tell(started(path=path), assigned("hb-1"))
        with pytest.raises(NotReady):
            await here.tell(close)
        assert [] == here.entries()
        path.write_bytes(b"".join(whole))
        await here.tell(close)
        assert ["bd show hb-1", "bd close hb-1"] == commands(here, "hb-1")


async def test_a_session_that_begins_when_the_last_work_ended_waits_for_none_of_its_commands(
    tmp_path: Path, town: Path
) -> None:
    """A polecat's next session often starts in the second of the close, which the session before it made."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    end = times["hb-1"][1]
    successor = TranscriptBuilder(
        "successor", start=end + timedelta(milliseconds=400), step=timedelta(milliseconds=100)
    )
    successor.user("What is on my hook?")
    successor.say("I look.")
    following = successor.write(tmp_path / "claude")
    async with bench(tmp_path / "state", town, clock=lambda: end.timestamp() + 1) as here:
        await here.tell(started(path=path), assigned("hb-1"))
        await here.tell(started("successor", at=end + timedelta(milliseconds=300), path=following))
        await here.tell(closed("hb-1", end), assigned("hb-2", at=end + timedelta(seconds=1)))
        assert [(SESSION, "hb-1")] == [(entry.session_id, entry.bead) for entry in here.entries()]


async def test_a_session_of_less_than_a_second_keeps_what_it_closed(tmp_path: Path, town: Path) -> None:
    """Its own command says that the work was its own."""
    builder = TranscriptBuilder(start=START + timedelta(milliseconds=600), step=timedelta(milliseconds=10))
    builder.user("Close it.")
    builder.bash("bd close hb-1")
    path = builder.write(tmp_path / "claude")
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(assigned("hb-1", at=START - timedelta(minutes=1)))
        await here.tell(started(at=START + timedelta(milliseconds=500), path=path), closed("hb-1", START))
        assert ["bd close hb-1"] == commands(here, "hb-1")


async def test_what_is_told_of_an_old_bead_waits_for_no_session_that_came_later(tmp_path: Path, town: Path) -> None:
    """The later session is in the midst of a close of its own, whose line is not on disk yet."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    end = times["hb-1"][1]
    much_later = end + timedelta(minutes=30)
    builder = TranscriptBuilder("successor", start=much_later)
    builder.user("Begin.")
    builder.bash("bd show hb-2")
    following = builder.write(tmp_path / "claude")
    async with bench(tmp_path / "state", town, clock=lambda: builder.now.timestamp()) as here:
        await here.tell(started(path=path), assigned("hb-1"), closed("hb-1", end))
        await here.tell(started("successor", at=much_later, path=following), assigned("hb-2", at=much_later))
        with pytest.raises(NotReady):
            await here.tell(closed("hb-2", builder.now))
        await here.tell(assigned("hb-1", seen_by="poll"))


async def test_it_does_not_wait_for_ever(tmp_path: Path, town: Path) -> None:
    """A close long past, or dated in the future by a clock that is wrong, is taken as the transcript stands."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    end = times["hb-1"][1]
    for name, now in (("past", end.timestamp() + 30), ("future", end.timestamp() - 3600)):
        async with bench(tmp_path / name, town, clock=lambda now=now: now) as here:  # type: ignore[misc]
            await here.tell(started(path=path), assigned("hb-1"), closed("hb-1", end))
            assert ["bd show hb-1"] == commands(here, "hb-1")


async def test_one_unready_bead_holds_up_no_other(tmp_path: Path, town: Path) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1", "hb-2")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]))
    now = times["hb-2"][1]
    async with bench(tmp_path / "state", town, clock=lambda: now.timestamp()) as here:
        for bead, (begin, _) in times.items():
            await here.tell(started(path=path), assigned(bead, at=begin))
        for close in (closed("hb-2", now), closed("hb-1", times["hb-1"][1])):
            with pytest.raises(NotReady):
                await here.tell(close)
        assert ["hb-1"] == [entry.bead for entry in here.entries()]


async def test_a_later_reason_and_a_reopening_move_the_label(tmp_path: Path, town: Path) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1")
    end = times["hb-1"][1]
    same = {"seen_by": "poll", "database": "harbor", "bead": "hb-1"}
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path), assigned("hb-1"), closed("hb-1", end, reason="Closed"))
        first = here.entries()[0].outcome
        await here.tell(BeadUpdated.model_validate(same | {"at": end, "reason": "Merged in hb-wisp-1"}))
        merged = here.entries()[0].outcome
        await here.tell(BeadReopened.model_validate(same | {"at": end, "episode": 2}))
        reopened = here.entries()[0].outcome
    assert ["completed", "merged", "merged"] == [first.label, merged.label, reopened.label]
    assert first.confidence < reopened.confidence < merged.confidence
    assert 1 == len({entry.entry_id for entry in here.entries()}) == len(here.final()[1])


async def test_late_evidence_withdraws_what_it_takes_away(tmp_path: Path, town: Path) -> None:
    """First it looked like the closer's own work; then it turned out that another had the bead."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path), closed("hb-1", times["hb-1"][1]))
        assert ["hb-1"] == [entry.bead for entry in here.entries()]
        await here.tell(assigned("hb-1", "harbor/polecats/slit"))
        assert [] == here.entries()
        subjects = [fact.subject for fact in await here.outbox.head()]
        assert ["gtftd.fact.entry.stored", "gtftd.fact.entry.withdrawn"] == subjects
        assert {} == here.final()[1]


async def test_polecats_of_one_rig_and_compound_roles_keep_apart(tmp_path: Path, town: Path) -> None:
    first, times = session_of(tmp_path / "claude", "hb-1")
    other = SESSION.replace("0b9c", "1c9c")
    second, _ = session_of(tmp_path / "claude", "hb-1", session=other)
    boot = "deacon/boot"
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=first), started(other, "harbor/polecats/slit", path=second, tmux="ha-slit"))
        await here.tell(assigned("hb-1"), closed("hb-1", times["hb-1"][1]))
        assert [SESSION] == [entry.session_id for entry in here.entries()]
        end = SessionEnded(at=START + timedelta(hours=1), seen_by="hook", session_id="boot-1", reason="other")
        builder = TranscriptBuilder("boot-1", cwd=str(town / "deacon/dogs/boot"))
        builder.user("Check.")
        builder.bash("gt deacon status")
        builder.write(tmp_path / "claude")
        sweep = SessionStarted(at=START, seen_by="sweep", session_id="boot-1", cwd=builder.cwd)
        await here.tell(end, sweep)
        assert [("boot", boot, None)] == [(e.role, e.actor, e.bead) for e in here.entries() if e.session_id == "boot-1"]


async def test_a_moved_or_replaced_transcript_is_found_in_the_spool(tmp_path: Path, town: Path) -> None:
    path, times = session_of(tmp_path / "claude", "hb-1", "hb-2")
    async with bench(tmp_path / "state", town, clock=later) as here:
        os.link(path, here.spool.transcripts / f"{SESSION}.jsonl")
        await here.tell(started(path=path), assigned("hb-1"))
        path.unlink()
        await here.tell(closed("hb-1", times["hb-1"][1]))
        path.write_text('{"type":"user","message":{"content":"something else"}}\n')
        await here.tell(assigned("hb-2", at=times["hb-2"][0]), closed("hb-2", times["hb-2"][1]))
        assert ["hb-1", "hb-2"] == [entry.bead for entry in here.entries()]


async def test_a_transcript_that_goes_while_it_is_read_is_looked_for_again(tmp_path: Path, town: Path) -> None:
    """Retriable, and the message names the file alone."""
    path, _ = session_of(tmp_path / "claude", "hb-1")
    reading = Reading(lambda: load_town(town), Spool(tmp_path / "spool"), max_line_bytes=1024**2)
    state = State(path, 1, 1, 1)
    path.unlink()
    with pytest.raises(Unreachable, match=rf"cannot read the transcript {path.name}: No such file"):
        reading.read(state)


async def test_poison_in_a_transcript_leaves_its_neighbours(tmp_path: Path, town: Path) -> None:
    """A 64 MB line, deep nesting, NUL, half JSON and bad UTF-8 before the closing call."""
    path, times = session_of(tmp_path / "claude", "hb-1")
    lines = path.read_bytes().splitlines(keepends=True)
    poison = [b'{"type":"user","x":"' + b"A" * 64 * 1024**2 + b'"}\n', b"[" * 10_000 + b"]" * 10_000 + b"\n"]
    poison += [b'{"type":"user"\n', b'{"type":"\xff\xfe"}\n', b"\0\0\0\n"]
    path.write_bytes(b"".join([*lines[:3], *poison, *lines[3:]]))
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path), assigned("hb-1"), closed("hb-1", times["hb-1"][1]))
        assert ["bd show hb-1", "bd close hb-1"] == commands(here, "hb-1")
        assert "too_long" in here.entries()[0].dropped


async def test_nothing_unscrubbed_is_told(tmp_path: Path, town: Path) -> None:
    """Not in entries, rows, facts, metrics or the live view."""
    secret = "ghp_" + "a1B2" * 9
    builder = TranscriptBuilder(model=f"model-{secret}")
    builder.user(f"use {secret}")
    builder.bash(f"export TOKEN={secret}; bd show hb-1", secret)
    builder.bash("bd close hb-1")
    path = builder.write(tmp_path / "claude")
    close = closed("hb-1", builder.now).model_copy(update={"title": f"leak {secret}", "issue_type": secret})
    start = started(path=path).model_copy(update={"agent": secret, "cwd": f"/t/{secret}"})
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(start, assigned("hb-1"), close)
        (entry,) = here.entries()
        assert entry.redactions
        facts = b"".join(fact.body for fact in await here.outbox.head())
        told = [entry.model_dump_json(), str(here.final()), facts.decode(), str(here.activity.recent())]
        assert not [text for text in (*told, here.metrics.expose().decode()) if secret in text]


async def test_the_screen_is_the_last_resort(tmp_path: Path, town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken when the work ends, from gt's private socket; kept, and only relabelled, when the terminal is gone."""
    monkeypatch.delenv("GT_TMUX_SOCKET", raising=False)
    tmux = ["tmux", "-L", socket_name(load_town(town)), "-f", "/dev/null"]
    screen = "> Fix the berth\n\n● I look.\n\n● Bash(bd show hb-1)\n  ⎿  a task\n\n● Done: ghp_" + "a1B2" * 9 + "\n"
    (tmp_path / "screen").write_text(screen)
    command = f"cat '{tmp_path}/screen'; exec sleep 600"
    subprocess.run([*tmux, "new-session", "-d", "-s", "ha-nux", "-x", "120", "-y", "50", command], check=True)
    try:
        shown = [*tmux, "capture-pane", "-p", "-t", "ha-nux"]
        while "Done" not in subprocess.run(shown, check=True, capture_output=True, text=True).stdout:
            time.sleep(0.02)
        end = START + timedelta(minutes=5)
        done = BeadReleased(at=end, seen_by="feed", bead="hb-1", actor=NUX, how="done")
        async with bench(tmp_path / "state", town, clock=later) as here:
            await here.tell(started(tmux=""), assigned("hb-1"), done)
            before = here.entries()
            subprocess.run([*tmux, "kill-server"], check=True)
            await here.tell(closed("hb-1", end, by="harbor/refinery", reason="Merged in hb-wisp-1"))
            (after,) = here.entries()
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
    assert [("tmux", "unknown")] == [(entry.source, entry.outcome.label) for entry in before]
    assert (before[0].messages, "merged") == (after.messages, after.outcome.label)
    assert ["user", "assistant"] == [message.role for message in after.messages][:2]
    assert not any(message.trainable for message in after.messages)
    assert "ghp_" not in after.model_dump_json()


async def test_a_close_that_changes_nothing_reads_nothing(tmp_path: Path, town: Path) -> None:
    """The mayor closes a hundred beads in one session: each close scrubs what is new alone."""
    beads = [f"hb-{number}" for number in range(6)]
    path, times = session_of(tmp_path / "claude", *beads)
    async with bench(tmp_path / "state", town, clock=later) as here:
        await here.tell(started(path=path), *[assigned(bead, at=times[bead][0]) for bead in beads])
        scrubbed: list[int] = []
        scrubber = here.collector._scrubber()
        real = scrubber.scrub_messages
        scrubber.scrub_messages = lambda raws: (scrubbed.append(1), real(raws))[1]  # type: ignore[method-assign, func-returns-value]
        for bead in beads:
            await here.tell(closed(bead, times[bead][1]))
        assert len(beads) == len(scrubbed) == len(here.entries())
