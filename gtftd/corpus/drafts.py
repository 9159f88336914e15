"""From a planned span to an entry: nothing but scrubbed text, identifiers and numbers goes in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gtftd.corpus.evidence import Session
from gtftd.corpus.plan import Planned
from gtftd.corpus.turns import read_turns
from gtftd.schemas.corpus import Conventions, Source
from gtftd.scrub.sealed import ScrubbedEntry, scrub_entry

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Scrubber


@dataclass(frozen=True)
class Draft:
    """Everything that an entry is made of, unscrubbed: it stays in memory."""

    session: Session
    planned: Planned
    source: Source
    cwd: str | None
    conventions: Conventions | None = None
    retired: Mapping[str, datetime] = field(default_factory=dict)
    """The commands that today's conventions have left behind."""

    def digest(self, scrubber: Scrubber) -> bytes:
        """Equal digests give equal entries. For comparing in memory: it is not keyed, so it is never written."""
        session, planned = self.session, self.planned
        who = (session.role, session.rig, session.actor, session.agent, session.run_id, session.cwd, session.git_head)
        taken = planned.taken
        found = (planned.worker, planned.signals, planned.violations, planned.cut, planned.outcome)
        rules = (scrubber.version, self.conventions, sorted(self.retired.items()))
        facts = (who, self.source, self.cwd, planned.stint, found, rules)
        spans = (taken.started_at, taken.ended_at, taken.model, sorted(taken.dropped.items()))
        digest = hashlib.sha256(repr((facts, spans)).encode(errors="replace"))
        for message in taken.messages:
            digest.update(repr(message).encode(errors="replace"))
        return digest.digest()

    def entry(self, scrubber: Scrubber) -> ScrubbedEntry:
        """Slow: every message goes through the scrubber."""
        session, planned = self.session, self.planned
        stint, taken = planned.stint, planned.taken
        close = stint.close if stint else None
        title, issue_type = (close.title, close.issue_type) if close else ("", None)
        turns = read_turns(planned, self.retired, issue_type=issue_type, title=title)
        return scrub_entry(
            scrubber,
            taken.messages,
            turns.mark,
            entry_id=planned.entry_id,
            origin=f"session:{session.session_id}",
            role=session.role or "unknown",
            rig=session.rig,
            bead=stint.bead if stint else None,
            database=close.database if close else None,
            episode=stint.episode if stint else 1,
            session_id=session.session_id,
            run_id=session.run_id,
            actor=session.actor,
            agent=session.agent,
            model=taken.model,
            title=title,
            issue_type=issue_type,
            task=turns.task,
            cwd=session.cwd or self.cwd,
            git_head=session.git_head,
            source=self.source,
            started_at=taken.started_at,
            ended_at=taken.ended_at,
            cut=planned.cut,
            outcome=planned.outcome,
            conventions=self.conventions,
            dropped=dict(sorted(taken.dropped.items())),
        )
