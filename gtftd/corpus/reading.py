"""Where the text of a session comes from: its program's transcript, its second name in the spool, or the screen."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from gtftd.corpus.evidence import Session
from gtftd.errors import Unreachable
from gtftd.town.conversation import RawMessage, Transcript
from gtftd.town.identity import Identity, parse_role
from gtftd.town.layout import Town
from gtftd.town.screen import capture, parse_screen
from gtftd.town.spool import Spool
from gtftd.town.transcript import State, find_transcript, read_transcript, state_of

__all__ = ["KEPT_BYTES", "READERS", "Reading", "State"]

KEPT_BYTES = 8 * 1024 * 1024
"""Size of the files whose parsed lines are kept for the next close in the same session."""
READERS = 2
"""A transcript takes several times its size in memory while it is read, cut and scrubbed."""


class Reading:
    """Finds and reads what sessions said. `turn` keeps more than two from being in memory at once.

    `computing` is for the steps that only compute: two threads of them wait for one another longer than they work.
    """

    def __init__(self, town: Callable[[], Town], spool: Spool, *, max_line_bytes: int) -> None:
        self._town = town
        self._spool = spool
        self._max_line_bytes = max_line_bytes
        self._kept: OrderedDict[State, Transcript] = OrderedDict()
        self._lock = Lock()
        self.turn = asyncio.Semaphore(READERS)
        self.computing = asyncio.Lock()

    async def find(self, session: Session) -> State | None:
        return await asyncio.to_thread(self._find, session)

    def _find(self, session: Session) -> State | None:
        """What the hooks named or the spool's link to it, whichever holds more: a file may be replaced."""
        named = [Path(session.transcript_path)] if session.transcript_path else []
        candidates = (*named, self._spool.transcripts / f"{Path(session.session_id).name}.jsonl")
        found = [state for path in candidates if (state := state_of(path)) is not None]
        if found:
            return max(found, key=lambda state: state.size_bytes)
        elsewhere = find_transcript(session.session_id, self._town().transcript_places())
        return None if elsewhere is None else state_of(elsewhere)

    def read(self, state: State) -> Transcript:
        """Blocks for as long as the file is long. Raises Unreachable when it cannot be read (again)."""
        with self._lock:
            if (known := self._kept.get(state)) is not None:
                self._kept.move_to_end(state)
                return known
        try:
            transcript = read_transcript(state.path, max_line_bytes=self._max_line_bytes)
        except OSError as error:
            raise Unreachable(f"cannot read the transcript {state.path.name}: {error.strerror}") from error
        if state_of(state.path) == state:
            self._keep(state, transcript)
        return transcript

    def _keep(self, state: State, transcript: Transcript) -> None:
        with self._lock:
            for older in [kept for kept in self._kept if kept.path == state.path]:
                del self._kept[older]  # the file has grown: nobody asks for what it was
            self._kept[state] = transcript
            while sum(kept.size_bytes for kept in self._kept) > KEPT_BYTES:
                self._kept.popitem(last=False)

    async def screen(self, session: Session) -> tuple[RawMessage, ...]:
        """What the agent's terminal shows now; nothing when it is gone."""
        town = self._town()
        text = await capture(town, session.tmux_session or _tmux_name(session, town) or "")
        return parse_screen(text) if text else ()


def _tmux_name(session: Session, town: Town) -> str | None:
    """How gt names the tmux session of an agent (gastown.md 1.6)."""
    who: Identity | None = parse_role(session.actor or "")
    if who is None:
        return None
    if who.rig is None:
        return f"hq-dog-{who.name}" if who.role == "dog" else f"hq-{who.role}"
    rig = town.rig(who.rig)
    prefix = rig.prefix if rig else who.rig
    return {"polecat": f"{prefix}-{who.name}", "crew": f"{prefix}-crew-{who.name}"}.get(
        who.role, f"{prefix}-{who.role}"
    )
