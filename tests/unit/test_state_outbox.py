"""The outbox, the cursors beside it, and the parked."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.errors import Invalid, Missing
from gtftd.schemas.catalog import decode
from gtftd.schemas.town import BeadClosed
from gtftd.state import Database, Ledger, Outbox, Outgoing, Parking
from gtftd.state.ledger import Answer, Claim, Failure
from gtftd.state.outbox import already_told, forget_told, read_cursor, tell, write_cursor
from gtftd.state.parking import Retried, read_retried
from tests.support.bus import outgoing
from tests.support.state import opened, rows

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)


def outbox_of(database: Database) -> Outbox:
    return Outbox(database, prefix="gtftd", source="test", scrub=lambda value: str(value).replace("secret", "[gone]"))


def closed(title: str, reason: str = "") -> BeadClosed:
    return BeadClosed(at=NOW, seen_by="poll", database="hq", bead="hq-1", title=title, reason=reason)


async def test_facts_leave_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Each id once; `head` shows the oldest, `remove` forgets them, twice is harmless."""
    with opened(tmp_path / "state.db") as database:
        outbox = outbox_of(database)
        assert 3 == await outbox.put([outgoing(f"gt-{n}") for n in range(3)])
        assert 1 == await outbox.put([outgoing(f"gt-{n}") for n in range(4)])
        assert outbox.filled.is_set()
        head = await outbox.head(2)
        assert ["id-gt-0", "id-gt-1"] == [row.id for row in head]
        await outbox.remove(head)
        await outbox.remove(head)
        assert ["id-gt-2", "id-gt-3"] == [row.id for row in await outbox.head()]
        assert 2 == await outbox.size()


async def test_a_cursor_moves_with_its_facts_or_not_at_all(tmp_path: Path) -> None:
    """When what goes with the facts fails, neither is there."""
    with opened(tmp_path / "state.db") as database:
        outbox = outbox_of(database)
        await outbox.put([outgoing("gt-1")], lambda c: write_cursor(c, "feed", {"offset": 10}))

        def broken(connection: sqlite3.Connection) -> None:
            write_cursor(connection, "feed", {"offset": 99})
            raise ValueError("a bug of the source")

        with pytest.raises(ValueError, match="a bug"):
            await outbox.put([outgoing("gt-2")], broken)
        assert {"offset": 10} == await database.read(lambda c: read_cursor(c, "feed"))
        assert None is await database.read(lambda c: read_cursor(c, "other"))
        assert ["id-gt-1"] == [row.id for row in await outbox.head()]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.text(alphabet='a \x00\n"\\é\U0001f600'))
def test_any_text_comes_back_as_it_was(title: str, reason: str) -> None:
    """Encoding and decoding an event changes nothing."""
    outbox = Outbox(None, prefix="gtftd", source="test")  # type: ignore[arg-type]  # nothing is stored here
    [(id_, subject, body)] = outbox.rows([Outgoing("id-1", closed(title, reason), NOW, "cause-1")])
    envelope, event = decode(body)
    assert ("id-1", "gtftd.town.bead.closed", closed(title, reason)) == (id_, subject, event)
    assert ("id-1", "test", "cause-1", NOW) == (envelope.id, envelope.source, envelope.causeid, envelope.time)


async def test_what_people_wrote_is_scrubbed_before_it_is_written_anywhere(tmp_path: Path) -> None:
    """Only the fields that an event declares as text."""
    with opened(tmp_path / "state.db") as database:
        outbox = outbox_of(database)
        await outbox.put([Outgoing("id-1", closed("a secret title", "no secret"), NOW)])
        [row] = await outbox.head()
        assert ("a [gone] title", "no [gone]") == (
            json.loads(row.body)["data"]["title"],
            json.loads(row.body)["data"]["reason"],
        )
    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


async def test_a_fact_that_no_server_takes_is_refused_here(tmp_path: Path) -> None:
    """It would stop everything behind it for ever."""
    with opened(tmp_path / "state.db") as database:
        with pytest.raises(Invalid, match="more than 1000000"):
            await outbox_of(database).put([outgoing("small"), Outgoing("id-1", closed("x" * 1_000_001), NOW)])
        assert 0 == await outbox_of(database).size()


async def test_told_ids_are_known_until_they_are_forgotten(tmp_path: Path) -> None:
    """More ids than one statement takes; other sources know nothing of them."""
    with opened(tmp_path / "state.db") as database:
        ids = [f"id-{n}" for n in range(1203)]
        await database.write(lambda c: tell(c, "spool", [(id_, float(n)) for n, id_ in enumerate(ids)]))
        await database.write(lambda c: tell(c, "spool", [("id-0", 5000.0)]))
        assert set(ids) == await database.read(lambda c: already_told(c, "spool", [*ids, "new"]))
        assert set() == await database.read(lambda c: already_told(c, "feed", ids))
        await database.write(lambda c: forget_told(c, "spool", 1000.0))
        assert set(ids[1000:]) == await database.read(lambda c: already_told(c, "spool", ids))


async def park(database: Database, *keys: str) -> None:
    ledger = Ledger(database, "boot-1")
    for key in keys:
        claim = Claim("note", key, f"event-{key}")
        await ledger.begin([claim])
        await ledger.park(Failure(claim, "gtftd.town.bead.touched", key.encode(), 3, "Busy: x", "  File"), [])


async def test_parked_are_listed_shown_and_missing_by_name(tmp_path: Path) -> None:
    """The newest first, by reaction when one is named."""
    with opened(tmp_path / "state.db") as database:
        parking = Parking(database)
        await park(database, "a", "b", "c")
        assert ["c", "b"] == [one.key for one in await parking.list(limit=2)]
        assert ([], 3) == (await parking.list("other"), await parking.count())
        [*_, first] = await parking.list("note")
        assert first == await parking.show(first.id)
        with pytest.raises(Missing, match="nothing is parked under 99"):
            await parking.show(99)


async def test_a_retry_sends_the_same_bytes_under_a_new_id_and_starts_counting_anew(tmp_path: Path) -> None:
    """All in one transaction, for the one reaction; parked again and retried again it gets another id."""
    with opened(tmp_path / "state.db") as database:
        parking, claim = Parking(database), Claim("note", "a", "event-a")
        ids = set()
        for _ in range(2):
            await park(database, "a")
            assert 1 == await parking.retry(None, ["note"])
            [row] = await outbox_of(database).head()
            assert (b"a", "gtftd.town.bead.touched") == (row.body, row.subject)
            assert row.retries is not None
            assert Retried("note", "a") == read_retried(row.retries)
            ids.add(row.id)
            await outbox_of(database).remove([row])
            assert [Answer("run", 1)] == await Ledger(database, "boot-2").begin([claim])
        assert (2, 0) == (len(ids), await parking.count())


async def test_one_unknown_id_changes_nothing(tmp_path: Path) -> None:
    """Retry and drop are all or nothing; a dropped reaction stays parked in the ledger, without its bytes."""
    with opened(tmp_path / "state.db") as database:
        parking = Parking(database)
        await park(database, "a", "b")
        [b, a] = await parking.list()
        for change in (lambda ids: parking.retry(ids, ["note"]), parking.drop):
            with pytest.raises(Missing, match="under 77; nothing was changed"):
                await change([a.id, 77])
        with pytest.raises(Invalid, match="no reaction is called note any more; drop what it parked"):
            await parking.retry(None, ["other"])
        await database.write(lambda c: c.execute("UPDATE parked SET body = zeroblob(1000001) WHERE key = 'b'"))
        with pytest.raises(Invalid, match=f"{b.id}: more than 1000000 bytes are no event; drop it"):
            await parking.retry(None, ["note"])
        assert (2, 0) == (await parking.count(), await outbox_of(database).size())
        assert 1 == await parking.drop([b.id])
        assert [("a",)] == rows(database.path, "SELECT key FROM parked")
        assert [Answer("parked")] == await Ledger(database, "boot-2").begin([Claim("note", "b", "event-b")])


def test_whose_message_comes_again_is_read_back_whatever_its_key() -> None:
    """As one line of ASCII, which is all that a header holds; what nobody wrote so is nobody's."""
    for key in ("hq-1#2", "two\r\nlines", "dock/\u202e", "\udcff", '"]'):
        written = Retried("note", key).encode()
        assert written.isascii()
        assert 1 == len(written.splitlines())
        assert Retried("note", key) == read_retried(written)
    assert [None] * 5 == [read_retried(text) for text in ("", "{}", '["note"]', '["note", 7]', "[" * 100_000)]
