"""Beads as they are at this moment, scrubbed, for whoever wants to find them: read in parts, stored nowhere here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gtftd.corpus.databases import PART, BeadsAccess
from gtftd.corpus.life_text import tell_life
from gtftd.corpus.slings import slings_of
from gtftd.schemas.rag import WAITS, BeadCard
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_lives import read_lives, read_offset
from gtftd.town.bead_snapshot import HISTORIES

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Scrubbed, Scrubber

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class LivingBead:
    """One bead, all of its words scrubbed; mail is none."""

    database: str
    bead: str
    title: Scrubbed
    text: Scrubbed
    card: BeadCard
    updated_at: datetime


@dataclass(frozen=True)
class LivingPart:
    """What one read found, and which of the beads asked for are not there (any more)."""

    found: tuple[LivingBead, ...]
    gone: tuple[str, ...] = ()


class LivingBeads:
    """Over the connection that the poller uses too. Raises Unreachable, DatabaseMissing or SchemaUnknown."""

    def __init__(self, access: BeadsAccess, scrubber: Callable[[], Scrubber]) -> None:
        self._access = access
        self._scrubber = scrubber
        self._offsets: dict[str, int] = {}

    async def databases(self) -> tuple[str, ...]:
        return await asyncio.to_thread(self._access.databases)

    async def of(self, database: str, beads: Sequence[str]) -> LivingPart:
        """At most `PART` beads in one call."""
        async with self._access.reader.snapshot(database) as view:
            if database not in self._offsets:
                self._offsets[database] = await read_offset(view)
            lives = await read_lives(view, beads, self._offsets[database])
        found = [life for life in lives if not life.is_mail]
        gone = set(beads) - {life.bead for life in found}
        return LivingPart(tuple(await asyncio.to_thread(self._told, database, found)), tuple(sorted(gone)))

    async def ids(self, database: str) -> AsyncIterator[list[str]]:
        """Every bead of the database, mail too, in parts."""
        for table in HISTORIES.values():
            after = ""
            while True:
                async with self._access.reader.snapshot(database) as view:
                    beads = await view.beads_after(table, after, PART)
                if beads:
                    yield beads
                if len(beads) < PART:
                    break
                after = beads[-1]

    def _told(self, database: str, lives: Sequence[BeadLife]) -> list[LivingBead]:
        scrubber = self._scrubber()
        return [
            LivingBead(
                database=database,
                bead=life.bead,
                title=scrubber.scrub_text(life.issue.title),
                text=scrubber.scrub_text(tell_life(life, slings_of(life, ()))),
                card=_card(life, scrubber),
                updated_at=life.last_at or _EPOCH,
            )
            for life in lives
        ]


def _card(life: BeadLife, scrubber: Scrubber) -> BeadCard:
    """Names and links too are somebody's words: an external reference may be an address with a token in it."""
    issue, attributes = life.issue, life.attributes

    def clean(text: str | None) -> str | None:
        return str(scrubber.scrub_text(text)) if text else None

    def links(found: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(scrubber.scrub_text(name)) for name in found))

    priority = life.fields.get("priority", "")
    parents = [link.target for link in life.needs if link.type == "parent-child"]
    others = [link.target for link in life.needs if link.type not in WAITS]
    others += [link.bead for link in life.needed_by if link.type not in WAITS]
    return BeadCard(
        bead=life.bead,
        status=issue.status,
        issue_type=clean(life.kind) or "task",
        priority=int(priority) if priority.isdecimal() else None,
        assignee=clean(issue.assignee),
        parent=clean(life.fields.get("parent") or next(iter(parents), None)),
        needs=links(link.target for link in life.needs if link.type in WAITS),
        needed_by=links(link.bead for link in life.needed_by if link.type in WAITS),
        related=links(others),
        formula=clean(attributes.get("attached_formula") or attributes.get("attached_molecule")),
        closed_at=issue.closed_at if issue.closed else None,
        close_reason=clean(issue.reason) or "" if issue.closed else "",
    )
