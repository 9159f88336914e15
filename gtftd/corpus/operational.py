"""Beads as documents: the life in words, and the same as fields for whoever counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gtftd.corpus.filing import Document
from gtftd.corpus.life_text import tell_life
from gtftd.corpus.slings import Death, Sling, slings_of
from gtftd.schemas.corpus import Entry, Outcome, Source
from gtftd.town.bead_life import BeadLife
from gtftd.town.conversation import RawMessage
from gtftd.town.identity import FOR_ALL, parse_role

DOLT = "dolt"
KNOWN = "known"
_DIGEST = re.compile(r"(?:digest|patrol digest):\s*(\S+)", re.IGNORECASE)
Judge = Callable[[BeadLife, Sequence[Sling]], Outcome]


@dataclass(frozen=True)
class Telling:
    """Where lives come from. `told_by`: `dolt`, or which export (`cut` of the entry says it)."""

    source: Source
    told_by: str
    database: str
    rig: str | None


def bead_document(life: BeadLife, telling: Telling, judge: Judge, deaths: Sequence[Death] = ()) -> Document:
    """Labelled by evidence; the words of mail are private and stay out."""
    slings = slings_of(life, deaths)
    last = next((sling.actor for sling in reversed(slings)), life.issue.assignee)
    identity = parse_role(last or "")
    text = tell_life(life, slings)
    facts = json.dumps(facts_of(life, slings), ensure_ascii=False)
    return Document(
        kind="operational",
        origin=f"bead:{telling.database}/{life.bead}",
        source=telling.source,
        messages=(_system(text, "turn"), _system(facts, "meta")),
        role=identity.role if identity else FOR_ALL,
        rig=telling.rig,
        bead=life.bead,
        database=telling.database,
        actor=last,
        title="" if life.is_mail else life.issue.title,
        issue_type=life.kind,
        outcome=judge(life, slings),
        started_at=life.created_at,
        ended_at=life.last_at,
        cut=telling.told_by,
    )


def facts_of(life: BeadLife, slings: Sequence[Sling]) -> dict[str, object]:
    """What programs want to know of the bead; what there is none of is left out."""
    told: dict[str, object] = {
        "bead": life.bead,
        "type": life.kind,
        "status": life.issue.status,
        "episodes": 1 + sum(change.opens for change in life.changes),
        "slings": [_facts_of_sling(sling) for sling in slings],
        KNOWN: list(life.known),
    }
    if not life.is_mail:
        told |= {"labels": list(life.labels), "attributes": dict(life.attributes)}
        told |= {"needs": [[link.type, link.target] for link in life.needs]}
        told |= {"needed_by": [[link.type, link.bead] for link in life.needed_by]}
        told |= {"digest_of": _digest_of(life), "convoy": _convoy(life)}
    return {name: value for name, value in told.items() if value not in (None, [], {}, "")}


def known_of(entry: Entry) -> tuple[int, ...]:
    """How much the stored account tells; nothing where it cannot be read."""
    try:
        told = json.loads(entry.messages[-1].content)[KNOWN]
        return tuple(int(count) for count in told)
    except (ValueError, LookupError, TypeError):
        return ()


def _facts_of_sling(sling: Sling) -> dict[str, object]:
    told = {
        "actor": sling.actor,
        "by": sling.by,
        "at": sling.at.isoformat(),
        "began_at": sling.began_at.isoformat() if sling.began_at else None,
        "ended_at": sling.ended_at.isoformat() if sling.ended_at else None,
        "ended_by": sling.ended_by,
        "how": sling.how,
        "duration_s": sling.duration_s,
        "error_type": sling.error_type,
    }
    return {name: value for name, value in told.items() if value is not None}


def _digest_of(life: BeadLife) -> str | None:
    found = _DIGEST.match(life.issue.title)
    return found[1] if found else None


def _convoy(life: BeadLife) -> list[str] | None:
    """The beads that a convoy carries."""
    if life.kind != "convoy":
        return None
    members = [link.target for link in life.needs if link.type in {"tracks", "parent-child"}]
    members += [link.bead for link in life.needed_by if link.type == "parent-child"]
    return sorted(set(members))


def _system(text: str, kind: Literal["turn", "meta"]) -> RawMessage:
    return RawMessage("system", text, kind=kind)
