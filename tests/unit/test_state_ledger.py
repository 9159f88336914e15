"""The ledger: once for each reaction and key, whatever happens to the daemon between two steps."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.state import Database, Ledger, Parking
from gtftd.state.ledger import Answer, Claim, Done, Failure
from tests.support.state import opened, rows

ROW = ("fact-1", "gtftd.fact.x", b"{}")


def claim(key: str = "gt-1", reaction: str = "note") -> Claim:
    return Claim(reaction, key, f"event-of-{key}")


def failure(attempts: int = 3, key: str = "gt-1") -> Failure:
    return Failure(claim(key), "gtftd.town.bead.touched", b"body", attempts, "Unreachable: gone")


async def test_a_claim_is_given_once_for_each_reaction_and_key(tmp_path: Path) -> None:
    """In one batch and across batches: the second of two equal claims is busy, other reactions are free."""
    with opened(tmp_path / "state.db") as database:
        ledger = Ledger(database, "boot-1")
        wanted = [claim(), claim(), claim(reaction="index"), claim("gt-2")]
        assert [Answer("run", 1), Answer("busy"), Answer("run", 1), Answer("run", 1)] == await ledger.begin(wanted)
        assert [Answer("busy")] * 4 == await ledger.begin(wanted)
        await ledger.commit([Done(claim()), Done(claim("gt-2"))])
        assert [Answer("done"), Answer("done"), Answer("busy"), Answer("done")] == await ledger.begin(wanted)


async def test_what_a_dead_daemon_ran_is_taken_over_and_counted(tmp_path: Path) -> None:
    """A row that runs under an older boot belonged to nobody any more; its attempt counts."""
    with opened(tmp_path / "state.db") as database:
        await Ledger(database, "boot-1").begin([claim()])
        assert [Answer("run", 2)] == await Ledger(database, "boot-2").begin([claim()])
        assert [Answer("busy")] == await Ledger(database, "boot-2").begin([claim()])


@pytest.mark.parametrize(("counted", "attempt"), [(True, 2), (False, 1)])
async def test_a_release_counts_only_what_was_the_fault_of_the_event(
    tmp_path: Path, counted: bool, attempt: int
) -> None:
    """A full disk costs no attempt; a failure does."""
    with opened(tmp_path / "state.db") as database:
        ledger = Ledger(database, "boot-1")
        await ledger.begin([claim()])
        await ledger.release(claim(), counted=counted)
        assert [Answer("run", attempt)] == await ledger.begin([claim()])


async def test_done_and_its_facts_are_one_transaction(tmp_path: Path) -> None:
    """Facts of several reactions go in together and in order; a fact that waits already is not doubled."""
    with opened(tmp_path / "state.db") as database:
        ledger = Ledger(database, "boot-1")
        await ledger.begin([claim("gt-1"), claim("gt-2")])
        second = ("fact-2", "gtftd.fact.x", b"2")
        await ledger.commit([Done(claim("gt-1"), [ROW, second]), Done(claim("gt-2"), [ROW])])
        assert [("fact-1",), ("fact-2",)] == rows(database.path, "SELECT id FROM outbox ORDER BY seq")
        assert [("done",), ("done",)] == rows(database.path, "SELECT state FROM reactions")


async def test_parked_is_final_until_somebody_retries(tmp_path: Path) -> None:
    """A second failure of the same key updates the row that is there."""
    with opened(tmp_path / "state.db") as database:
        ledger = Ledger(database, "boot-1")
        await ledger.begin([claim()])
        await ledger.park(failure(3), [ROW])
        await ledger.park(failure(4), [ROW])
        assert [Answer("parked")] == await ledger.begin([claim()])
        [parked] = await Parking(database).list()
        assert (parked.key, parked.attempts, parked.body) == ("gt-1", 4, b"body")
        assert [("fact-1",)] == rows(database.path, "SELECT id FROM outbox")


async def test_old_reactions_are_forgotten_when_they_are_done(tmp_path: Path) -> None:
    """A bounded number at a time; what runs, waits or is parked stays however old it is."""
    with opened(tmp_path / "state.db") as database:
        ledger = Ledger(database, "boot-1", clock=lambda: 100.0)
        await ledger.begin([claim(f"gt-{n}") for n in range(6)])
        await ledger.commit([Done(claim(f"gt-{n}")) for n in range(3)])
        await ledger.park(failure(key="gt-3"), [])
        await ledger.release(claim("gt-4"), counted=True)
        assert 0 == await ledger.purge(100.0)
        assert [2, 1, 0] == [await ledger.purge(101.0, limit=2) for _ in range(3)]
        assert [("parked",), ("waiting",), ("running",)] == rows(database.path, "SELECT state FROM reactions")


STEPS = st.lists(st.sampled_from(["begin", "commit", "release", "give back", "park", "die"]), max_size=25)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_no_order_of_steps_runs_a_finished_reaction_again(steps: list[str]) -> None:
    """After done or parked nothing runs; while it runs nobody else does; attempts never go below 1."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "state.db") as database:
        asyncio.run(live(database, steps))


async def live(database: Database, steps: list[str]) -> None:
    boot, running, ended = 0, False, ""
    for step in steps:
        ledger = Ledger(database, f"boot-{boot}")
        if step == "die":
            boot, running = boot + 1, False
        elif step == "begin":
            [answer] = await ledger.begin([claim()])
            assert (ended or ("busy" if running else "run")) == answer.verdict
            assert (answer.attempt >= 1) == (answer.verdict == "run")
            running = running or answer.verdict == "run"
        elif running:
            running = False
            if step == "commit":
                await ledger.commit([Done(claim(), [ROW])])
                ended = "done"
            elif step == "park":
                await ledger.park(failure(), [])
                ended = "parked"
            else:
                await ledger.release(claim(), counted=step == "release")
