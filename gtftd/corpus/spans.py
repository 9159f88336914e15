"""Cut a session to the work on one bead. Pure: the same lines and the same evidence give the same span.

A session outlives its task, and holds several. The end is the command in it that ended the work, because
what is on disk up to there does not change any more; times are the second best, at one second's resolution.
Nothing here looks past the end, so that a transcript that grows gives the same cut.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gtftd.corpus.commands import Closing, Ending, closings
from gtftd.town.conversation import SHELL_TOOLS, Line, RawMessage, merge

GRACE = timedelta(seconds=2)
"""How much later than the recorded end a command may have been written: clocks tick in whole seconds."""
_DAWN = datetime.min.replace(tzinfo=UTC)
_MCP_CLOSE = re.compile(r"mcp__\w*beads\w*__close(?:_issue)?")


@dataclass(frozen=True)
class Work:
    """What is known of one stint on a bead: an episode, from its assignment to its release or close."""

    bead: str
    assigned_at: datetime | None = None
    released_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by_this_actor: bool = False
    needs_command: bool = False
    """Only a command of the session itself shows that it had a part in this."""

    @property
    def ended_at(self) -> datetime | None:
        """The first of release and close that is not before the assignment."""
        known = [time for time in (self.released_at, self.closed_at) if time is not None]
        if self.assigned_at is not None:
            known = [time for time in known if second(time) >= second(self.assigned_at)] or known
        return min(known, default=None)


@dataclass(frozen=True)
class Span:
    """Lines `first_index` to `last_index`, both included; `cut` says which marks bound it.

    `settled` is false while the command that should end it is not on disk yet: try again shortly.
    """

    first_index: int
    last_index: int
    cut: str
    settled: bool = True


@dataclass(frozen=True)
class Ended:
    """A command that ends work, and the line with the call."""

    index: int
    bead: str | None
    kind: Ending


@dataclass(frozen=True)
class Taken:
    """A span as chat messages, still unscrubbed."""

    messages: tuple[RawMessage, ...]
    dropped: Mapping[str, int]
    started_at: datetime | None
    ended_at: datetime | None
    model: str | None


@dataclass(frozen=True)
class _End:
    index: int
    why: str
    settled: bool


class Timeline:
    """A session's lines and all the stints that are known in it; what their cuts share is found once."""

    def __init__(self, lines: Sequence[Line], works: Iterable[Work]) -> None:
        self.lines = lines
        self.times = _times(lines)
        self.seconds = [second(time) for time in self.times]
        self.calls = [_Call(ended, lines) for ended in closing_calls(lines)]
        self.works = dict.fromkeys(works)
        self._assigned = sorted(work.assigned_at for work in self.works if work.assigned_at is not None)
        self._ends: dict[Work, _End | None] = {}

    def end(self, work: Work) -> _End | None:
        if work not in self._ends:
            self._ends[work] = _find_end(self, work)
        return self._ends[work]

    def handover(self, work: Work) -> datetime | None:
        """When the agent's hook went on to another bead; from then on a bare `gt done` is not about this one."""
        if work.assigned_at is None:
            return None
        later = bisect_right(self._assigned, work.assigned_at)
        return self._assigned[later] if later < len(self._assigned) else None

    def cut(self, work: Work) -> Span | None:
        """The span of one of the stints, or None when nothing in the session belongs to it."""
        end = self.end(work)
        start = _find_start(self, work, end.index) if end is not None else None
        if end is None or start is None:
            return None
        first, why = start
        ends = [found.index for other in self.works if other != work and (found := self.end(other))]
        previous = max((index for index in ends if index < end.index), default=-1)
        if previous + 1 > first:
            first, why = previous + 1, "after the bead before it"
        first = _past_answers(self.lines, first, end.index)
        if first > end.index:
            return None
        return Span(first, end.index, f"from {why}; to {end.why}", end.settled)


def cut(lines: Sequence[Line], work: Work, *, other_beads: Iterable[Work] = ()) -> Span | None:
    """The span of one stint; `other_beads` are the others that this session is known to have worked on."""
    return Timeline(lines, (work, *other_beads)).cut(work)


def rest(lines: Sequence[Line], spans: Iterable[Span]) -> tuple[Span, ...]:
    """The stretches that no span covers and in which the agent did something."""
    covered = sorted((span.first_index, span.last_index) for span in spans)
    gaps: list[Span] = []
    start = 0
    for first, last in [*covered, (len(lines), len(lines))]:
        begin = _past_answers(lines, start, first) if start else 0
        if any(line.message.trainable for line in lines[begin:first]):
            gaps.append(Span(begin, first - 1, "outside of every bead"))
        start = max(start, last + 1)
    return tuple(gaps)


def take(lines: Sequence[Line], span: Span) -> Taken:
    """The messages of a span; a tool result whose call lies outside is left out and counted."""
    inside = lines[span.first_index : span.last_index + 1]
    dropped: Counter[str] = Counter()
    calls: set[str] = set()
    chosen: list[Line] = []
    for line in inside:
        dropped.update(line.dropped)
        calls.update(call.id for call in line.message.tool_calls)
        if line.message.role == "tool" and line.message.tool_call_id not in calls:
            dropped["orphan_result"] += 1
            continue
        chosen.append(line)
    at = [line.at for line in inside if line.at is not None]
    models = [line.model for line in inside if line.model]
    return Taken(
        messages=merge(tuple(chosen)),
        dropped=dict(dropped),
        started_at=min(at, default=None),
        ended_at=max(at, default=None),
        model=models[-1] if models else None,
    )


def closing_calls(lines: Sequence[Line]) -> list[Ended]:
    """Every command in the session that ends work on a bead, in order."""
    found: list[Ended] = []
    for line in lines:
        for call in line.message.tool_calls:
            if call.name in SHELL_TOOLS:
                command = call.arguments.get("command")
                said = closings(command) if isinstance(command, str) else ()
            elif _MCP_CLOSE.fullmatch(call.name):
                bead = call.arguments.get("issue_id")
                said = (Closing(bead, "close"),) if isinstance(bead, str) else ()
            else:
                continue
            found.extend(Ended(line.index, closing.bead, closing.kind) for closing in said)
    return found


def mentions(line: Line, bead: str) -> bool:
    """Whether a tool call, a prompt or injected text names the bead. Tool output lists many: it says nothing."""
    message = line.message
    if message.role == "tool" or (message.role == "assistant" and not message.tool_calls):
        return False
    named = re.compile(rf"(?<![\w-]){re.escape(bead)}(?![\w-]|\.\d)")
    texts = [message.content] if message.role != "assistant" else []
    values: list[object] = [call.arguments for call in message.tool_calls]
    while values:
        value = values.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, Mapping):
            values.extend(value.values())
        elif isinstance(value, list):
            values.extend(value)
    return any(bead in text and named.search(text) for text in texts)


def second(moment: datetime) -> datetime:
    """The whole second: what Dolt and gt's feed keep of a time."""
    return moment.replace(microsecond=0)


class _Call:
    """A closing command with what became of it, as far as the file tells."""

    def __init__(self, ended: Ended, lines: Sequence[Line]) -> None:
        self.ended = ended
        self.index = ended.index
        calls = {call.id for call in lines[ended.index].message.tool_calls}
        self.answered_at: datetime | None = None
        self.failed = False
        for line in lines[ended.index + 1 : ended.index + 33]:
            if line.message.tool_call_id in calls:
                self.failed, self.answered_at = line.message.is_error, line.at
                break


def _find_end(timeline: Timeline, work: Work) -> _End | None:
    lines, times = timeline.lines, timeline.times
    if not lines:
        return None
    limit = work.ended_at
    handover = timeline.handover(work)
    for call in reversed(timeline.calls):
        if _ends(call, times, work, limit, handover):
            return _End(call.index, f"its {_SPOKEN[call.ended.kind]}", settled=True)
    if work.needs_command:
        return None
    if limit is None:
        return _End(len(lines) - 1, "the last line", settled=False)
    past = bisect_right(timeline.seconds, second(limit))
    if past == 0:
        return None
    expects_call = work.closed_by_this_actor or limit == work.released_at
    waited = times[-1] > limit + GRACE
    last = _last_timed(lines, past)
    return _End(last, "the time it ended", settled=waited or not expects_call)


_SPOKEN: dict[Ending, str] = {"close": "close", "done": "gt done", "handoff": "gt handoff", "unhook": "unsling"}


def _ends(call: _Call, times: list[datetime], work: Work, limit: datetime | None, handover: datetime | None) -> bool:
    """Whether this command ended this work: named it or had it on the hook, in time, and did not fail."""
    at = times[call.index]
    if call.ended.bead not in (None, work.bead):
        return False
    if work.assigned_at is not None and second(at) < second(work.assigned_at):
        return False
    if limit is not None and at > second(limit) + GRACE:
        return False
    if call.ended.bead is None and handover is not None and second(at) >= second(handover):
        return False
    if call.failed:  # it ended the work all the same if the end fell within it: `bd close x && false`
        return limit is not None and call.answered_at is not None and call.answered_at + GRACE >= limit
    return True


def _find_start(timeline: Timeline, work: Work, end: int) -> tuple[int, str] | None:
    if work.assigned_at is not None:
        index = bisect_left(timeline.seconds, second(work.assigned_at))
        if index == 0:
            return 0, "the session's start"
        return (index, "its assignment") if index <= end else None
    earlier = [c.index for c in timeline.calls if c.index < end and c.ended.bead is None and not c.failed]
    first = max(earlier, default=-1) + 1
    for index in range(first, end + 1):
        if mentions(timeline.lines[index], work.bead):
            return index, "its first mention"
    return None


def _past_answers(lines: Sequence[Line], first: int, end: int) -> int:
    """Skip the results of calls that came before: they belong to the span before."""
    asked = {call.id for line in lines[first : end + 1] for call in line.message.tool_calls}
    while first <= end and first < len(lines):
        message = lines[first].message
        if message.role != "tool" or message.tool_call_id in asked:
            return first
        first += 1
    return first


def _last_timed(lines: Sequence[Line], past: int) -> int:
    """The last line before `past` with a time of its own: more without one may follow it at any time."""
    return next((index for index in range(past - 1, -1, -1) if lines[index].at is not None), past - 1)


def _times(lines: Sequence[Line]) -> list[datetime]:
    """A time for every line: its own, else that of the line before; never running backwards."""
    times: list[datetime] = []
    latest = next((line.at for line in lines if line.at is not None), _DAWN)
    for line in lines:
        if line.at is not None and line.at > latest:
            latest = line.at
        times.append(latest)
    return times
