"""Reactions are committed and acknowledged by the batch; each stays responsible for itself alone."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd import logs
from gtftd.bus.acknowledger import Acknowledger
from gtftd.errors import NoSpace, Unreachable
from gtftd.schemas.event import Event
from gtftd.schemas.town import BeadAssigned
from gtftd.state import Parking
from tests.support.bus import Place, outgoing, place, reaction, until

MANY = 300


async def answer_all(event: Event) -> BeadAssigned:
    return BeadAssigned(at=datetime.now(UTC), seen_by="emit", bead=event.bead, actor="mayor")  # type: ignore[attr-defined]


async def acknowledged(here: Place, name: str) -> bool:
    consumer = here.runtime.consumers[name]
    info = await here.bus.js.consumer_info(consumer.stream, name)
    return info.num_ack_pending == 0 and info.num_pending == 0


async def test_many_at_once_are_each_done_once_and_acknowledged_at_the_server(tmp_path: Path) -> None:
    """More than the concurrency: every one gives its fact, and the server has every acknowledgement."""
    async with place(tmp_path, [reaction("many", answer_all, concurrency=64)]) as here:
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(MANY)])
        await until(lambda: here.runtime.consumers["many"].tally.done == MANY)
        assert await acknowledged(here, "many")
        await until(here.runtime.idle)
        states = await here.database.read(
            lambda c: c.execute("SELECT state, attempts, count(*) FROM reactions GROUP BY 1, 2").fetchall()
        )
        assert [("done", 1, MANY)] == states
        town = await here.bus.js.stream_info("GTFTD_TOWN")
        assert 2 * MANY == town.state.messages


async def test_a_fact_that_cannot_be_stored_parks_its_reaction_and_no_other(tmp_path: Path) -> None:
    """The whole batch fails at first; then each is tried alone."""
    async with place(tmp_path, [reaction("many", answer_all, concurrency=64)]) as here:
        await here.database.write(
            lambda c: c.execute(
                "CREATE TRIGGER refused BEFORE INSERT ON outbox WHEN new.subject LIKE '%assigned'"
                " AND instr(new.body, '\"gt-7\"') BEGIN SELECT RAISE(FAIL, 'refused by the test'); END"
            )
        )
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(20)])
        await until(Parking(here.database).count)
        await until(lambda: here.runtime.consumers["many"].tally.done == 19)
        [parked] = await Parking(here.database).list()
        assert ("gt-7", "IntegrityError") == (parked.key, parked.error)
        await until(here.runtime.idle)
        assert await acknowledged(here, "many")


async def test_a_full_disk_at_the_commit_gives_the_messages_back_uncounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come again when there is room, as the first attempt that they are."""
    monkeypatch.setattr("gtftd.bus.consumer.STATE_RETRY", timedelta(milliseconds=100))
    async with place(tmp_path, [reaction("many", answer_all, attempts=1)]) as here:
        commit, failures = here.ledger.commit, iter(range(3))

        async def commit_later(done):  # type: ignore[no-untyped-def]
            if next(failures, None) is not None:
                raise NoSpace("no space left for state.db")
            await commit(done)

        monkeypatch.setattr(here.ledger, "commit", commit_later)
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(2)])
        await until(lambda: here.runtime.consumers["many"].tally.done == 2)
        assert 0 == await Parking(here.database).count()


async def test_events_that_wait_for_their_next_attempt_stop_no_other(tmp_path: Path) -> None:
    """As many as may run at once fail and wait for minutes; those behind them are handled meanwhile, few at a time."""
    seen: list[str] = []
    running: list[str] = []

    async def note(event: Event) -> None:
        bead = event.bead  # type: ignore[attr-defined]
        if bead.startswith("bad"):
            raise Unreachable("not today", after=timedelta(minutes=10))
        running.append(bead)
        assert len(running) <= 2
        await asyncio.sleep(0.01)
        running.remove(bead)
        seen.append(bead)

    async with place(tmp_path, [reaction("note", note, concurrency=2, attempts=9)]) as here:
        await here.outbox.put([outgoing(f"bad-{n}") for n in range(5)])
        await until(lambda: here.runtime.consumers["note"].tally.retried == 5)
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(10)])
        await until(lambda: len(seen) == 10)
        assert 0 == await Parking(here.database).count()


async def test_a_handler_longer_than_the_patience_of_the_server_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs the server is told so, and does not deliver the message again."""
    monkeypatch.setattr("gtftd.bus.consumer.ACK_WAIT_S", 0.6)
    runs: list[str] = []

    async def slow(event: Event) -> None:
        runs.append(event.bead)  # type: ignore[attr-defined]
        await asyncio.sleep(2)

    async with place(tmp_path, [reaction("slow", slow)]) as here:
        await here.outbox.put([outgoing("gt-1")])
        await until(lambda: here.runtime.consumers["slow"].tally.done == 1)
        consumer = here.runtime.consumers["slow"]
        info = await here.bus.js.consumer_info(consumer.stream, "slow")
        assert (["gt-1"], 1) == (runs, info.delivered and info.delivered.consumer_seq)


async def test_the_line_of_a_reaction_says_what_caused_it(tmp_path: Path) -> None:
    """One canonical line with reaction, key, event, cause and attempt, though many are noted together."""
    logs.configure("info", tmp_path / "log", console=False)
    async with place(tmp_path, [reaction("note", answer_all)]) as here:
        await here.outbox.put([outgoing("gt-1"), outgoing("gt-2")])
        await until(lambda: here.runtime.consumers["note"].tally.done == 2)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    said = {(line["key"], line["event_id"], line["attempt"], line["facts"]) for line in lines if "facts" in line}
    assert {("gt-1", "id-gt-1", 1, 1), ("gt-2", "id-gt-2", 1, 1)} == said


async def test_an_acknowledgement_counts_when_the_server_has_confirmed_it(tmp_path: Path) -> None:
    """True for a living consumer, False for one that is gone and while the bus is away."""
    async with place(tmp_path, []) as here:
        js = here.bus.js
        subscription = await js.pull_subscribe("gtftd.town.>", durable="tried", stream="GTFTD_TOWN")
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(4)])
        messages = []
        while len(messages) < 4:
            messages += await subscription.fetch(4 - len(messages), timeout=5)
        acknowledger = Acknowledger(here.bus)
        assert await acknowledger.acknowledge(messages[:2], timeout_s=5)
        assert 2 == (await js.consumer_info("GTFTD_TOWN", "tried")).num_ack_pending
        await js.delete_consumer("GTFTD_TOWN", "tried")
        assert not await acknowledger.acknowledge(messages[2:], timeout_s=0.5)
        here.bus.ready.clear()
        assert not await acknowledger.acknowledge(messages[2:], timeout_s=0.5)
        here.bus.ready.set()
        await acknowledger.close()
