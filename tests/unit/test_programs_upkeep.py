"""What the daemon does for the corpus by itself: documents once a day, an audit when the rules have changed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gtftd.programs import upkeep
from gtftd.programs.parts import Parts
from gtftd.schemas.settings import SettingsModel
from gtftd.state.outbox import read_cursor, write_cursor
from tests.support.sources import make_town

PHRASE = "harbour-gate-lanterns"
"""No rule knows it: only the town's own list of secrets says that it is one."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody works beside a test; and the town's agents have a home of their own."""
    monkeypatch.setattr(upkeep, "PAUSE_S", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """A daemon's parts on a town with one instruction; nothing runs, and no Dolt answers."""
    root = make_town(tmp_path / "gt", "harbor")
    (root / "CLAUDE.md").write_text(f"# Rules\n\nThe gate opens to {PHRASE}.\n")
    (tmp_path / "state").mkdir()
    made = Parts(SettingsModel(beads={"enabled": False}), root, tmp_path / "state")
    made.store.prepare()
    try:
        yield made
    finally:
        made.database.close()


async def origins(parts: Parts) -> list[str]:
    return sorted(row.origin for row in await parts.store.newest())


async def test_documents_are_collected_once_a_day(parts: Parts) -> None:
    """Not again before the day is over, though there is something new; then all of it."""
    await upkeep.collect_documents_when_due(parts)
    assert ["file:CLAUDE.md"] == await origins(parts)
    docs = parts.town_root / "harbor" / "docs"
    docs.mkdir()
    (docs / "gates.md").write_text("# Gates\n\nThey are shut at night.\n")
    await upkeep.collect_documents_when_due(parts)
    assert ["file:CLAUDE.md"] == await origins(parts)
    await back_by(parts, parts.settings.collection.documents_every_s + 1)
    await upkeep.collect_documents_when_due(parts)
    assert ["file:CLAUDE.md", "file:harbor/docs/gates.md"] == await origins(parts)


async def test_documents_that_failed_are_tried_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short between two kinds, the next look begins anew: the day counts from a whole collection."""

    async def cut_short() -> AsyncIterator[None]:
        raise asyncio.CancelledError
        yield

    with monkeypatch.context() as cut:
        cut.setattr(type(parts.documents), "interactions", lambda _: cut_short())
        with pytest.raises(asyncio.CancelledError):
            await upkeep.collect_documents_when_due(parts)
    assert None is await parts.database.read(lambda connection: read_cursor(connection, upkeep.DOCUMENTS))
    await upkeep.collect_documents_when_due(parts)
    assert await parts.database.read(lambda connection: read_cursor(connection, upkeep.DOCUMENTS))


async def test_nothing_is_collected_where_that_is_switched_off(parts: Parts) -> None:
    """`collection.documents = false`."""
    quiet = parts.settings.collection.model_copy(update={"documents": False})
    parts.settings = parts.settings.model_copy(update={"collection": quiet})
    await upkeep.collect_documents_when_due(parts)
    assert [] == await origins(parts)


async def test_an_audit_follows_a_change_of_the_rules(parts: Parts) -> None:
    """A secret that the town learns is taken out of what is stored; without a change nothing is touched."""
    await upkeep.audit_when_due(parts)  # of nothing
    await upkeep.collect_documents_when_due(parts)
    (before,) = await parts.store.newest()
    assert PHRASE in parts.store.read_whole(before.sha256).model_dump_json()
    assert not await parts.audit.is_due()
    await upkeep.audit_when_due(parts)
    assert [before] == await parts.store.newest()
    (parts.town_root / ".env").write_text(f"GATE_SECRET={PHRASE}\n")
    forget_scrubber(parts)
    assert await parts.audit.is_due()
    await upkeep.audit_when_due(parts)
    (after,) = await parts.store.newest()
    assert PHRASE not in parts.store.read_whole(after.sha256).model_dump_json()
    assert not parts.store.path(before.sha256).exists()
    assert not await parts.audit.is_due()


def forget_scrubber(parts: Parts) -> None:
    """The town's secrets are read again every few minutes: these are over."""
    parts.scrubber.look_again()


async def back_by(parts: Parts, seconds: float) -> None:
    """The last collection was so much longer ago."""

    def work(connection: sqlite3.Connection) -> None:
        told = read_cursor(connection, upkeep.DOCUMENTS)
        assert told is not None
        write_cursor(connection, upkeep.DOCUMENTS, {"at": float(str(told["at"])) - seconds})

    await parts.database.write(work)
