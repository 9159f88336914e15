"""Who begins a session and what they may see, and text put into sections within a number of tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from gtftd.errors import NotReady
from gtftd.rag.fence import Kind, Provenance, fence, neutral, neutral_line
from gtftd.rag.packing import cut
from gtftd.rag.picture import Brief, TownPicture
from gtftd.rag.stored import StoredChunk
from gtftd.rag.tokens import Counter
from gtftd.schemas.rag import BeadCard, IndexDocument, PrimeParams
from gtftd.town.identity import ROLES, Identity, parse_role

RIG_ROLES = frozenset({"witness", "refinery", "polecat", "crew"})
_NO_NAME = re.compile(r"[^\w./@+-]+", re.ASCII)
_LOOKED_AT = 24
"""Characters of a text that are looked at for each token that it may take."""


@dataclass
class View:
    """The town as this agent may see it: what is the town's, and what is its own rig's."""

    picture: TownPicture
    params: PrimeParams
    counter: Counter
    shown: set[str] = field(default_factory=set)
    """Documents that are in the prime already."""

    @property
    def rig(self) -> str | None:
        return self.params.rig if self.params.role in RIG_ROLES else None

    @cached_property
    def who(self) -> Identity:
        """Raises NotReady for what contradicts itself."""
        role, rig, actor = self.params.role, self.params.rig, self.params.actor
        if role not in ROLES:
            raise NotReady(f"{role!r} is no role of a town; it is one of {', '.join(ROLES)}")
        if role in RIG_ROLES and not rig:
            raise NotReady(f"a {role} belongs to a rig, and none was named; give --rig")
        found = parse_role(actor) if actor else Identity(role, self.rig)
        if found is None or found.role != role or (role in RIG_ROLES and found.rig != rig):
            raise NotReady(f"{actor!r} is no {role}" + (f" of rig {rig!r}" if rig else ""))
        return found

    @cached_property
    def actor(self) -> str | None:
        """None where the name is not known."""
        nameless = self.who.role in {"polecat", "crew", "dog"} and self.who.name is None
        return None if nameless else self.who.actor

    @cached_property
    def living(self) -> list[Brief]:
        return [one for one in self.picture.living(self.rig) if self.may_see(one.rig)]

    def may_see(self, rig: str | None) -> bool:
        return rig is None or rig == self.rig

    def bead(self, bead: str) -> IndexDocument | None:
        """None for what is not there, and for what is another rig's."""
        found = self.picture.card(bead)
        return found if found is not None and found.bead is not None and self.may_see(found.rig) else None

    def chunks(self, document: str) -> list[StoredChunk]:
        return [chunk for chunk in self.picture.chunks(document) if self.may_see(chunk.rig)]


@dataclass(frozen=True)
class Work:
    """What the agent is at. `also`: what else is on its hook, by id."""

    document: IndexDocument | None = None
    also: tuple[str, ...] = ()

    @property
    def card(self) -> BeadCard | None:
        return self.document.bead if self.document else None


def fenced(
    view: View,
    text: str,
    about: Provenance,
    limit: int,
    rest: str,
    *,
    kind: Kind = "data",
) -> str:
    """The text in its fence, cut to the limit; what was cut is said below the fence, in our words. Empty where
    nothing fits.
    """
    lines = text.count("\n") + 1
    shown = neutral(text[: max(0, limit) * _LOOKED_AT])
    room = limit - view.counter.count(fence("", about, kind))
    for _ in range(6):
        if room < 8:
            return ""
        part = cut(shown, room, view.counter, rest, of=lines if len(text) > limit * _LOOKED_AT else None)
        if not part.text.strip():
            return ""
        made = "\n".join(filter(None, (fence(part.text, about, kind), part.mark)))
        over = view.counter.count(made) - limit
        if over <= 0:
            return made
        room -= over + 1
    return ""


def fenced_list(view: View, lines: Sequence[str], about: Provenance, limit: int, more: str) -> str:
    """The first lines that fit, in a fence, and how many there are more."""
    room = limit - view.counter.count(fence("", about))
    kept, spent = 0, 0
    for line in lines:
        spent += view.counter.count(f"{line}\n")
        if spent > room:
            break
        kept += 1
    while kept:
        left = f"and {len(lines) - kept} more: {more}" if kept < len(lines) else ""
        made = "\n".join(filter(None, (fence("\n".join(lines[:kept]), about), left)))
        if view.counter.count(made) <= limit:
            return made
        kept -= 1
    return ""


def about_bead(document: IndexDocument, chunk: str = "") -> Provenance:
    bead = document.bead.bead if document.bead else document.id
    return Provenance("beads", bead, document.rig, document.updated_at, chunk)


def about_chunk(chunk: StoredChunk) -> Provenance:
    source = chunk.bead or chunk.document.removeprefix("file:")
    return Provenance(chunk.collection, source, chunk.rig, chunk.updated_at, chunk.id)


def about_beads(rig: str | None, at: datetime | None, how: str) -> Provenance:
    """Of a list that we put together out of many beads."""
    return Provenance("beads", how, rig, at)


def title_of(title: str, bead: str, limit: int = 90) -> str:
    """A bead's title without its id, in one line."""
    return neutral_line(title.removeprefix(f"{bead}:").strip(), limit)


def id_of(name: str, limit: int = 80) -> str:
    """A name of the town outside of a fence: an id, a path, a status. It can hold no sentence."""
    return _NO_NAME.sub("_", name[: limit + 1])[:limit]
