"""From a planned span to an entry: nothing but scrubbed text, identifiers and numbers goes in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gtftd.corpus.evidence import Session
from gtftd.corpus.plan import Planned
from gtftd.schemas.corpus import Entry

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Scrubber


@dataclass(frozen=True)
class Draft:
    """Everything that an entry is made of, unscrubbed: it stays in memory."""

    session: Session
    planned: Planned
    source: Literal["claude-code", "tmux"]
    cwd: str | None

    def digest(self, scrubber: Scrubber) -> bytes:
        """Equal digests give equal entries. For comparing in memory: it is not keyed, so it is never written."""
        session, planned = self.session, self.planned
        who = (session.role, session.rig, session.actor, session.agent, session.run_id, session.cwd, session.git_head)
        taken = planned.taken
        facts = (who, self.source, self.cwd, planned.stint, planned.cut, planned.outcome, scrubber.version)
        spans = (taken.started_at, taken.ended_at, taken.model, sorted(taken.dropped.items()))
        digest = hashlib.sha256(repr((facts, spans)).encode(errors="replace"))
        for message in taken.messages:
            digest.update(repr(message).encode(errors="replace"))
        return digest.digest()

    def entry(self, scrubber: Scrubber) -> Entry:
        """Slow: every message goes through the scrubber."""
        session, planned = self.session, self.planned
        scrubbed = scrubber.scrub_messages(planned.taken.messages)
        stint = planned.stint
        close = stint.close if stint else None
        model, cwd = planned.taken.model, session.cwd or self.cwd
        return Entry(
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
            agent=scrubber.scrub_text(session.agent) if session.agent else None,
            model=scrubber.scrub_text(model) if model else None,
            title=scrubber.scrub_text(close.title) if close else "",
            issue_type=scrubber.scrub_text(close.issue_type) if close else None,
            cwd=scrubber.scrub_text(cwd) if cwd else None,
            git_head=session.git_head,
            source=self.source,
            started_at=planned.taken.started_at,
            ended_at=planned.taken.ended_at,
            cut=planned.cut,
            outcome=planned.outcome,
            messages=scrubbed.messages,
            redactions=dict(sorted(scrubbed.redactions.items())),
            dropped=dict(sorted(planned.taken.dropped.items())),
            scrubber=scrubber.version,
        )
