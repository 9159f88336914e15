"""The bus against a real nats-server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import nats
import nats.errors
import pytest

from gtftd.errors import Invalid, Unreachable
from gtftd.schemas.event import Event
from gtftd.state.parking import Parking
from tests.support.bus import outgoing, place, reaction, until


async def test_an_event_in_the_outbox_reaches_its_reaction_once(tmp_path: Path) -> None:
    """Ten facts, each put twice, give ten runs; the outbox is empty afterwards."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("note", note)]) as here:
        for _ in range(2):
            await here.outbox.put([outgoing(f"gt-{n}") for n in range(10)])
            await until(here.runtime.idle)
        assert sorted(f"gt-{n}" for n in range(10)) == sorted(seen)
        assert await here.outbox.size() == 0


async def test_a_retriable_error_is_tried_again_and_then_parked(tmp_path: Path) -> None:
    """Attempts are counted; the last failure parks the event with its bytes, and a retry runs it again."""
    attempts: list[int] = []
    broken = True

    async def fail(event: Event) -> None:
        attempts.append(1)
        if broken:
            raise Unreachable("the database does not answer")

    async with place(tmp_path, [reaction("fail", fail, attempts=3)]) as here:
        parking = Parking(here.database)
        await here.outbox.put([outgoing("gt-1")])
        await until(parking.count)
        assert len(attempts) == 3
        [parked] = await parking.list()
        assert parked.error == "Unreachable: the database does not answer"
        assert b'"gt-1"' in parked.body
        broken = False
        assert await parking.retry([parked.id], here.runtime.consumers) == 1
        here.outbox.filled.set()
        await until(lambda: len(attempts) == 4)
        await until(here.runtime.idle)
        assert await parking.count() == 0


async def test_a_bug_parks_at_once_without_the_text_of_the_error(tmp_path: Path) -> None:
    """An undeclared exception is no reason to try again, and its message may quote a transcript."""

    async def bug(event: Event) -> None:
        raise KeyError(event.bead * 2)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("bug", bug)]) as here:
        parking = Parking(here.database)
        await here.outbox.put([outgoing("gt-1")])
        await until(parking.count)
        [parked] = await parking.list()
        assert (parked.attempts, parked.error) == (1, "KeyError")
        assert "gt-1gt-1" not in parked.traceback
        assert "in bug" in parked.traceback


async def test_poison_is_parked_and_hurts_no_neighbour(tmp_path: Path) -> None:
    """Messages that no event model understands are parked; those around them are handled."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    good = (
        b'{"specversion":"1.0","id":"x","source":"s","type":"gtftd.bead.touched.v1",'
        b'"time":"2026-01-01T00:00:00Z","data":%s}'
    )
    poison = [
        b"",
        b"{",
        b"\x00\xff\xfe",
        b"[" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        good % b'{"bead":"gt-1"}',
        (good % b"{}").replace(b".v1", b".v99"),
        (good % b"{}").replace(b"gtftd.bead.touched", b"gtftd.entry.stored"),
    ]
    async with place(tmp_path, [reaction("note", note)]) as here:
        for number, body in enumerate(poison):
            await here.bus.js.publish("gtftd.town.bead.touched", body)
            await here.outbox.put([outgoing(f"gt-{number}")])
        parking = Parking(here.database)
        await until(lambda: len(seen) == len(poison))
        await until(here.runtime.idle)
        assert await parking.count() == len(poison)


async def test_a_retry_reaches_the_one_reaction_that_parked(tmp_path: Path) -> None:
    """Not the others, whether they have done it, forgotten that they did, or parked it themselves."""
    seen: list[str] = []
    broken = True

    async def fine(event: Event) -> None:
        seen.append("fine")

    async def fail(event: Event) -> None:
        seen.append("fail")
        if broken:
            raise Invalid("it will not do")

    async def fail_too(event: Event) -> None:
        seen.append("fail_too")
        raise Invalid("it never will")

    reactions = [reaction("fine", fine), reaction("fail", fail), reaction("fail_too", fail_too)]
    async with place(tmp_path, reactions) as here:
        parking = Parking(here.database)
        await here.outbox.put([outgoing("gt-1")])
        await until(lambda: len(seen) == 3)
        await until(here.runtime.idle)
        await here.ledger.purge(before=time.time() + 60)
        parked = {row.reaction: row for row in await parking.list()}
        assert {"fail", "fail_too"} == set(parked)
        seen.clear()
        broken = False
        await parking.retry([parked["fail"].id], here.runtime.consumers)
        here.outbox.filled.set()
        await until(lambda: seen)
        await until(here.runtime.idle)
        assert ["fail"] == seen
        assert [parked["fail_too"]] == await parking.list()


async def test_poison_that_is_tried_again_is_parked_where_it_was(tmp_path: Path) -> None:
    """By the one reaction, under the same key, and told of once more; however often, also after a restart."""

    async def note(event: Event) -> None:
        raise AssertionError(event)

    reactions = [reaction("one", note), reaction("two", note)]
    for life in range(3):
        async with place(tmp_path, reactions, boot_id=f"boot-{life}") as here:
            parking = Parking(here.database)
            if not life:
                await here.bus.js.publish("gtftd.town.bead.touched", b"{")
                await until(lambda parking=parking: _is_counted(parking, 2))
                await until(here.runtime.idle)
            before = {(row.reaction, row.key): row for row in await parking.list()}
            await parking.retry([before["one", "message:GTFTD_TOWN:1"].id], here.runtime.consumers)
            here.outbox.filled.set()
            await until(lambda parking=parking: _is_counted(parking, 2))
            await until(here.runtime.idle)
            after = {(row.reaction, row.key): row for row in await parking.list()}
            assert before.keys() == after.keys()
            changed = {key[0] for key, row in after.items() if row != before[key]}
            assert {"one"} == changed
            info = await here.bus.js.stream_info(here.bus.stream("fact"))
            assert 3 + life == info.state.messages


async def test_a_publisher_cannot_have_a_real_event_parked_under_its_key(tmp_path: Path) -> None:
    """A header names no key but that of a message which nobody can read."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("note", note)]) as here:
        headers = {"Gtftd-Retried": '["note", "gt-1"]'}
        await here.bus.js.publish("gtftd.town.bead.touched", b"{", headers=headers)
        await until(Parking(here.database).count)
        await here.outbox.put([outgoing("gt-1")])
        await until(lambda: seen)
        assert ["gt-1"] == seen


async def _is_counted(parking: Parking, count: int) -> bool:
    return await parking.count() == count


async def test_a_publisher_may_say_town_events_only(tmp_path: Path) -> None:
    """The publisher's password opens the town subjects, and neither facts nor the JetStream API."""
    async with place(tmp_path, []):
        login = json.loads((tmp_path / "bus" / "publisher.json").read_text())
        refused: list[str] = []

        async def on_error(error: Exception) -> None:
            refused.append(str(error))

        client = await nats.connect(
            login["url"],
            user=login["user"],
            password=login["password"],
            inbox_prefix=b"_INBOX_publisher",
            error_cb=on_error,
        )
        js = client.jetstream(timeout=2)
        assert (await js.publish("gtftd.town.bead.touched", b"{}")).stream == "GTFTD_TOWN"
        for subject in ("gtftd.fact.entry.stored", "$JS.API.STREAM.DELETE.GTFTD_TOWN"):
            with pytest.raises(nats.errors.Error):
                await client.request(subject, b"", timeout=0.5)
        assert len(refused) == 2
        await client.close()


async def test_a_killed_server_comes_back_with_everything(tmp_path: Path) -> None:
    """SIGKILL of nats-server: a named condition, then recovery, and every event is handled once."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("note", note)]) as here:
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(50)])
        await asyncio.sleep(0.02)
        assert here.server.pid is not None
        os.kill(here.server.pid, signal.SIGKILL)
        await here.outbox.put([outgoing(f"gt-{n}") for n in range(50, 100)])
        await until(lambda: not here.bus.ready.is_set())
        assert [c.name for c in here.health.board() if c.state == "degraded"] == ["nats.unreachable"]
        await until(lambda: len(set(seen)) == 100, within_s=40)
        await until(here.runtime.idle, within_s=40)
        assert len(seen) == 100
        assert here.health.is_ok


async def test_a_paused_reaction_keeps_its_events_and_stays_paused_after_a_restart(tmp_path: Path) -> None:
    """Pauses are state: events wait at the server and are handled on resume."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("note", note)]) as here:
        await here.runtime.pause("note", "testing")
        await here.outbox.put([outgoing("gt-1")])
    async with place(tmp_path, [reaction("note", note)], boot_id="boot-2") as here:
        [state] = await here.runtime.states()
        assert state.state == "paused"
        assert seen == []
        await here.runtime.resume(None)
        await until(lambda: seen == ["gt-1"])


async def test_an_event_of_a_held_rig_waits_without_counting_attempts(tmp_path: Path) -> None:
    """What `hold` delays is neither run nor counted, and runs when it is let go."""
    seen: list[str] = []
    stopped = True

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    async with place(tmp_path, [reaction("note", note)]) as here:
        here.hold = lambda _event: timedelta(milliseconds=50) if stopped else None
        await here.outbox.put([outgoing("gt-1")])
        await asyncio.sleep(0.2)
        assert seen == []
        stopped = False
        await until(lambda: seen == ["gt-1"])


async def test_facts_that_are_too_large_are_refused_before_the_outbox(tmp_path: Path) -> None:
    """An event over the size limit of the bus would block the outbox for ever."""
    async with place(tmp_path, []) as here:
        with pytest.raises(Invalid, match="more than 1000000"):
            await here.outbox.put([outgoing("g" * 1_100_000, "large")])
