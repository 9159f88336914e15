"""Cut a session to the work on one bead. Pure: the same lines and the same evidence give the same span.

A session outlives its task, and holds several. The end is the command in it that ended the work, because
what is on disk up to there does not change any more; times are the second best, at one second's resolution.
Nothing here looks past the end, so that a transcript that grows gives the same cut.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gtftd.corpus.commands import Closing, Ending, closings
from gtftd.town.conversation import Line, RawMessage, merge

GRACE = timedelta(seconds=2)
"""How much later than the recorded end a command may have been written: clocks tick in whole seconds."""
_DAWN = datetime.min.replace(tzinfo=UTC)
_SHELL_TOOLS = frozenset({"Bash", "bash", "shell", "run_shell_command", "execute_command"})
_MCP_CLOSE = re.compile(r"mcp__\w*beads\w*__close(?:_issue)?")


@dataclass(frozen=True)
class Work:
    """What is known of one stint on a bead: an episode, from its assignment to its release or close."""

    bead: str
    assigned_at: datetime | None = None
    released_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by_this_actor: bool = False

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


def cut(lines: Sequence[Line], work: Work, *, other_beads: Iterable[Work] = ()) -> Span | None:
    """The span of a stint in a session, or None when nothing in the session belongs to it.

    `other_beads` are the other stints that this session or its agent is known to have worked on.
    """
    times = _times(lines)
    ends = [_Call(ended, lines) for ended in closing_calls(lines)]
    others = [other for other in other_beads if other != work]
    end = _find_end(lines, times, ends, work, others)
    if end is None:
        return None
    start = _find_start(lines, times, ends, work, end.index)
    if start is None:
        return None
    first, why = start
    previous = [
        found.index
        for other in others
        if (found := _find_end(lines, times, ends, other, [work, *others])) and found.index < end.index
    ]
    if previous and max(previous) + 1 > first:
        first, why = max(previous) + 1, "after the bead before it"
    first = _past_answers(lines, first, end.index)
    if first > end.index:
        return None
    return Span(first, end.index, f"from {why}; to {end.why}", end.settled)


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
            if call.name in _SHELL_TOOLS:
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


def _find_end(
    lines: Sequence[Line], times: list[datetime], calls: list[_Call], work: Work, others: list[Work]
) -> _End | None:
    if not lines:
        return None
    limit = work.ended_at
    handover = _handover(work, others)
    for call in reversed(calls):
        if _ends(call, times, work, limit, handover):
            return _End(call.index, f"its {_SPOKEN[call.ended.kind]}", settled=True)
    if limit is None:
        return _End(len(lines) - 1, "the last line", settled=False)
    past = next((index for index, time in enumerate(times) if second(time) > second(limit)), len(lines))
    if past == 0:
        return None
    expects_call = work.closed_by_this_actor or limit == work.released_at
    waited = times[-1] > limit + GRACE
    return _End(past - 1, "the time it ended", settled=waited or not expects_call)


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


def _handover(work: Work, others: list[Work]) -> datetime | None:
    """When the agent's hook went on to another bead; from then on a bare `gt done` is not about this one."""
    if work.assigned_at is None:
        return None
    later = (other.assigned_at for other in others if other.assigned_at is not None)
    return min((time for time in later if time > work.assigned_at), default=None)


def _find_start(
    lines: Sequence[Line], times: list[datetime], calls: list[_Call], work: Work, end: int
) -> tuple[int, str] | None:
    if work.assigned_at is not None:
        assigned = second(work.assigned_at)
        if second(times[0]) >= assigned:
            return 0, "the session's start"
        index = next((index for index, time in enumerate(times) if second(time) >= assigned), len(lines))
        return (index, "its assignment") if index <= end else None
    earlier = [call.index for call in calls if call.index < end and call.ended.bead is None and not call.failed]
    first = max(earlier, default=-1) + 1
    for index in range(first, end + 1):
        if mentions(lines[index], work.bead):
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


def _times(lines: Sequence[Line]) -> list[datetime]:
    """A time for every line: its own, else that of the line before; never running backwards."""
    times: list[datetime] = []
    latest = next((line.at for line in lines if line.at is not None), _DAWN)
    for line in lines:
        if line.at is not None and line.at > latest:
            latest = line.at
        times.append(latest)
    return times
