"""Which of the agent's own turns nobody should learn from, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gtftd.corpus.acts import Act, acts_of
from gtftd.corpus.commands import closings_of
from gtftd.corpus.conventions import Violation
from gtftd.corpus.runners import is_check
from gtftd.corpus.shell import Run
from gtftd.corpus.signals import Signals
from gtftd.corpus.stale import StaleUse
from gtftd.schemas.corpus import Mask
from gtftd.town.conversation import RawMessage

_ASKING = frozenset({
    "grep", "rg", "egrep", "fgrep", "ag", "ack", "diff", "cmp", "test", "[", "[[", "which", "type", "command", "pgrep",
    "ls", "stat", "find", "fd", "false", "kill", "pidof",
})  # fmt: skip
"""Programs that answer no with an exit code; the question was no mistake."""
_GIT_ASKING = frozenset(
    {"diff", "grep", "merge-base", "show-ref", "rev-parse", "check-ignore", "ls-files", "ls-remote"}
)
_NO = (1, 2)
_NOT_RUN = (126, 127)
_NOT_FOUND = re.compile(r": command not found$", re.MULTILINE)
_INJECTED = re.compile(
    r"<(?:system-reminder|user-prompt-submit-hook|session-start-hook|command-name|local-command-stdout|"
    r"task-notification)>|\[Request interrupted by user"
)
_LONG_LINE = 80
_QUOTED_CHARS = 240


def masks(
    messages: Sequence[RawMessage], signals: Signals, violations: Sequence[Violation], stale: Sequence[StaleUse]
) -> dict[int, Mask]:
    """Why an assistant message gets no loss, for those that shall get none.

    A message is masked as a whole: one call of several that failed is enough.
    A red test, a linter's finding and a search without a hit are what the tools are for: no failed steps.
    Only hard violations count here; soft ones are kept with the entry and weigh elsewhere. The first reason
    of the order interrupted, violation, stale, failed step, injected, unanswered is told.
    """
    acts = acts_of(messages)
    found: dict[int, Mask] = {}
    _tell(found, "interrupted", (*signals.interrupted, *signals.blocked))
    _tell(found, "violation", (violation.message for violation in violations if violation.severity == "hard"))
    _tell(found, "stale", (use.message for use in stale))
    tested = {run.message for run in signals.tests}
    _tell(found, "failed_step", (act.message for act in acts if _is_mistake(act, tested)))
    _tell(found, "injected", _quoting(messages))
    _tell(found, "unanswered", _unanswered(acts))
    own = (place for place in sorted(found) if messages[place].role == "assistant" and messages[place].trainable)
    return {place: found[place] for place in own}


def _tell(found: dict[int, Mask], mask: Mask, places: Iterable[int]) -> None:
    for place in places:
        found.setdefault(place, mask)


def _is_mistake(act: Act, tested: set[int]) -> bool:
    if not act.failed:
        return False
    if act.timed_out or not act.runs or act.exit_code in _NOT_RUN or _NOT_FOUND.search(act.output[:2000]):
        return True
    if act.message in tested:
        return False
    return not any(is_check(run) for run in act.runs) and not _said_no(act)


def _said_no(act: Act) -> bool:
    """The exit code is the answer of the last program, which was asked a question."""
    last = next((run for run in reversed(act.runs) if run.name not in ("echo", "true", "exit")), None)
    if last is None or (act.exit_code is not None and act.exit_code not in _NO):
        return False
    if last.name == "git":
        words = [word for word in last.arguments if not word.startswith("-")]
        return bool(words) and words[0] in _GIT_ASKING
    return last.name in _ASKING and (act.exit_code == 1 or last.name in ("ls", "stat", "find", "fd") or not act.output)


def _quoting(messages: Sequence[RawMessage]) -> list[int]:
    """Turns that repeat what the harness put into the conversation."""
    injected: set[str] = set()
    found: list[int] = []
    for place, message in enumerate(messages):
        if message.role == "assistant":
            if _INJECTED.search(message.content) or _repeats(message.content, injected):
                found.append(place)
        elif message.role in ("user", "system") and message.kind != "turn":
            injected.update(line for row in message.content.splitlines() if len(line := row.strip()) >= _LONG_LINE)
    return found


def _repeats(text: str, injected: set[str]) -> bool:
    if not injected or len(text) < _QUOTED_CHARS:
        return False
    lines = {line for row in text.splitlines() if len(line := row.strip(" \t>*-")) >= _LONG_LINE}
    return sum(len(line) for line in lines & injected) >= _QUOTED_CHARS


def _unanswered(acts: Sequence[Act]) -> list[int]:
    """Calls nobody saw the end of; the command that closes the span is cut off its answer on purpose."""
    last = acts[-1].message if acts else -1
    return [act.message for act in acts if act.answer is None and not (act.message == last and _closes(act))]


def _closes(act: Act) -> bool:
    return act.call.name.startswith("mcp__") or any(_ends_work(run) for run in act.runs)


def _ends_work(run: Run) -> bool:
    if run.name == "gt" and run.arguments[:2] == ("dog", "done"):
        return True
    return run.name in ("bd", "gt") and any(True for _ in closings_of(run.name, run.arguments))
