"""What became of a stint, how sure we are, and why. Pure. A close alone says little (gastown.md 5.5)."""

from __future__ import annotations

import re

from gtftd.corpus.evidence import Session
from gtftd.corpus.stints import Stint
from gtftd.schemas.corpus import Fact, Outcome

_MERGED = re.compile(r"\s*merged(?: in\b|\s*$)", re.I)
ADMINISTRATIVE = re.compile(
    r"stale|garbage|pollution|duplicate|superseded|no longer relevant|no[- ](?:code )?changes|administrative|reaper|"
    r"obsolete|wont ?fix|won't fix|not needed|test bead|clean ?up of|--help",
    re.I,
)
_WORK_DONE = re.compile(
    r"\b(fixed|implemented|shipped|done|added|resolved|completed)\b.*\b[0-9a-f]{7,40}\b", re.I | re.S
)


def judge(stint: Stint | None, session: Session, said: str | None) -> Outcome:
    """`said` is the status that the agent gave with `gt done`, or `handoff`; None when it gave none."""
    if stint is None:
        return _of_session(session)
    if stint.close is None:
        return _unclosed(stint, session, said)
    outcome = _closed(stint, stint.close.reason, said)
    if stint.close.reopened:
        evidence = (*outcome.evidence, Fact(kind="reopened", detail="the bead was reopened later"))
        return outcome.model_copy(update={"confidence": round(outcome.confidence / 2, 3), "evidence": evidence})
    return outcome


def _closed(stint: Stint, reason: str, said: str | None) -> Outcome:
    if _MERGED.match(reason):
        return Outcome(label="merged", confidence=0.95, evidence=(Fact(kind="merged", detail="closed as merged"),))
    if said == "ESCALATED":
        return Outcome(
            label="escalated", confidence=0.8, evidence=(Fact(kind="exit_type", detail="gt done --status ESCALATED"),)
        )
    if said in {"DEFERRED", "handoff"} and stint.close and stint.actor != stint.close.closed_by:
        return Outcome(
            label="deferred", confidence=0.7, evidence=(Fact(kind="exit_type", detail=f"the agent ended with {said}"),)
        )
    if ADMINISTRATIVE.search(reason):
        return Outcome(
            label="administrative",
            confidence=0.8,
            evidence=(Fact(kind="close_reason", detail="the close reason is administrative"),),
        )
    if _WORK_DONE.search(reason):
        return Outcome(
            label="completed",
            confidence=0.7,
            evidence=(Fact(kind="close_reason", detail="the close reason names a commit"),),
        )
    if reason.strip().lower() in {"", "closed"}:
        return Outcome(
            label="completed", confidence=0.3, evidence=(Fact(kind="close_reason", detail="closed without a reason"),)
        )
    return Outcome(
        label="completed", confidence=0.5, evidence=(Fact(kind="close_reason", detail="closed with a reason"),)
    )


def _unclosed(stint: Stint, session: Session, said: str | None) -> Outcome:
    if session.died and stint.how != "done":
        return Outcome(
            label="failed",
            confidence=0.7,
            evidence=(Fact(kind="session_death", detail="the session died before the work was done"),),
        )
    if said == "ESCALATED":
        return Outcome(
            label="escalated", confidence=0.8, evidence=(Fact(kind="exit_type", detail="gt done --status ESCALATED"),)
        )
    if said in {"DEFERRED", "handoff"}:
        return Outcome(
            label="deferred", confidence=0.7, evidence=(Fact(kind="exit_type", detail=f"the agent ended with {said}"),)
        )
    if stint.how in {"requeue", "unhook", "taken"}:
        return Outcome(
            label="abandoned",
            confidence=0.6,
            evidence=(Fact(kind="released", detail=f"the bead was let go: {stint.how}"),),
        )
    if stint.how == "done":
        return Outcome(
            label="unknown",
            confidence=0.2,
            evidence=(Fact(kind="not_closed", detail="the agent said done; the bead is not closed"),),
        )
    return Outcome(
        label="unknown", confidence=0.1, evidence=(Fact(kind="not_closed", detail="the bead is not closed"),)
    )


def _of_session(session: Session) -> Outcome:
    if session.died:
        return Outcome(
            label="failed", confidence=0.4, evidence=(Fact(kind="session_death", detail="the session died"),)
        )
    return Outcome(
        label="unknown", confidence=0.1, evidence=(Fact(kind="not_closed", detail="a session without a bead"),)
    )
