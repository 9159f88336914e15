"""One training entry as a page for a terminal: pure, so that a test can look at it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gtftd.ctl import show
from gtftd.schemas.corpus import Entry, Fact, Message, ToolCall
from gtftd.town.conversation import SHELL_TOOLS

if TYPE_CHECKING:
    from gtftd.schemas.corpus_views import EntryRow

_SHOWN_CHARACTERS = 2000
_SHOWN_VALUE = 60
_SHOWN_NAME = 60
_SAID = " said"
_CLOSERS = {
    "who decides": "the agent that decides on the merge",
    "nobody who had it": "somebody who never had the bead",
    "its agent": "the agent that did the work",
    "another": "somebody else",
}
"""Who closed a bead, as `gtftd.corpus.outcome` stores it."""
_BAR = "┃ "
_MASKED = "┆ "
_ROLES = {"assistant": "bold green", "user": "bold cyan", "tool": "yellow"}


def draw(entry: Entry, path: Path, console: Console, *, full: bool) -> Iterator[RenderableType]:
    """Whose work it was, what became of it and why we believe so, then every message.

    A bar stands before the messages that are trained on, a broken one before turns of the agent's that are not.
    On a terminal long lines are broken so that it goes on; elsewhere a line stays one.
    """
    yield _headline(entry)
    yield _facts(entry, path)
    width = console.width - len(_BAR) if console.is_terminal else None
    names = {call.id: call.name for message in entry.messages for call in message.tool_calls}
    for message in entry.messages:
        bar = Text(_BAR, "green") if message.trainable else Text(_MASKED, "yellow") if message.masked else Text("  ")
        yield Text()
        for line in _message(message, names, entry, full=full):
            for part in line.wrap(console, width) if width else (line,):
                yield Text.assemble(bar, part)


def who(actor: str | None, rig: str | None, role: str) -> str:
    """Gas Town's address of the agent; rig and role where it is not known."""
    return actor or "/".join(part for part in (rig, role) if part)


def which(bead: str | None, episode: int) -> str:
    """`ln-1`, `ln-1#2` after it was reopened, `-` for a session without a bead."""
    if bead is None:
        return "-"
    return bead if episode == 1 else f"{bead}#{episode}"


def about(row: EntryRow) -> str:
    """The bead, or the document that it was made of; `-` for a session without a bead."""
    if row.bead is not None or row.kind == "session":
        return which(row.bead, row.episode)
    return row.origin.partition(":")[2] or row.origin or "-"


def example_name(entry: Entry) -> str:
    """What an example that somebody added is called: its title, else how it begins."""
    asked = [message.content for message in entry.messages if message.role == "user"]
    said = [message.content for message in entry.messages]
    found = next((text for text in (entry.title, *asked, *said) if text.strip()), "") or entry.entry_id[:8]
    line = found.strip().splitlines()[0]
    return line if len(line) <= _SHOWN_NAME else f"{line[: _SHOWN_NAME - 1]}…"


def fact_text(fact: Fact) -> str:
    """What was seen and when: `merged: Merged in mr-7, 2026-11-21 22:27:09 UTC`."""
    name = "" if fact.kind == "said" else fact.kind.replace("_", " ")
    told = ": ".join(part for part in (name, _detail(fact)) if part)
    return f"{told}, {_moment(fact.at)} UTC" if fact.at else told


def _detail(fact: Fact) -> str:
    """In words for a reader; what is stored are words to decide by."""
    if fact.kind == "close_reason":
        reason, _, closer = fact.detail.partition(" by ")
        return f"{reason.replace('_', ' ')}, given by {_CLOSERS.get(closer, closer)}" if closer else reason
    if fact.kind == "exit_type" and fact.detail.endswith(_SAID):
        return f"{fact.detail.removesuffix(_SAID)}, in the agent's own words"
    return f"{fact.detail}, as recorded" if fact.kind == "exit_type" else fact.detail


def counts(told: Mapping[str, int]) -> str:
    """`HOME 2, USER 1`, the most first; `nothing` when there is nothing."""
    ordered = sorted(told.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count:,}" for kind, count in ordered) or "nothing"


def span(start: datetime | None, end: datetime | None) -> str:
    """`2026-11-21 22:27:09 to 22:27:11 UTC`."""
    if start is None or end is None:
        known = start or end
        return f"{_moment(known)} UTC" if known else "unknown"
    first, last = _moment(start), _moment(end)
    day, _, clock = last.partition(" ")
    return f"{first} to {clock if first.startswith(day) else last} UTC"


def call_text(call: ToolCall, *, full: bool) -> str:
    """`$ bd close x` for a shell, `Name key=value` for any other tool."""
    command = call.arguments.get("command")
    if call.name in SHELL_TOOLS and isinstance(command, str):
        return "$ " + command.replace("\n", "\n  ")
    words = [f"{key}={_value(value, full=full)}" for key, value in call.arguments.items()]
    return " ".join([call.name, *words])


def _value(value: object, *, full: bool) -> str:
    is_plain = isinstance(value, str) and value.isprintable() and value and " " not in value
    text = str(value) if is_plain else json.dumps(value, ensure_ascii=False)
    return text if full or len(text) <= _SHOWN_VALUE else f"{text[:20]}…{text[-_SHOWN_VALUE + 20 :]}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _headline(entry: Entry) -> Text:
    head = Text()
    name = name_of(entry)
    head.append(show.clean(name), "bold")
    if entry.title and entry.title != name:
        head.append(f"  {show.clean(entry.title)}", "bold")
    head.append(f"\n{show.clean(who(entry.actor, entry.rig, entry.role))}")
    label = entry.outcome.label
    return head.append("  ").append(label, show.OUTCOMES.get(label, ""))


def name_of(entry: Entry) -> str:
    """The bead, the example, the session or the document that it is of."""
    if entry.bead:
        return which(entry.bead, entry.episode)
    if entry.kind == "curated":
        return example_name(entry)
    return f"session {entry.session_id[:8]}" if entry.session_id else entry.origin.partition(":")[2]


def _facts(entry: Entry, path: Path) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=show.DIM, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in (*_outcome(entry), *_provenance(entry), ("file", str(path))):
        if value:
            grid.add_row(name, Text(show.clean(value)))
    own = sum(message.trainable for message in entry.messages)
    told = Text.assemble(f"{len(entry.messages)}; ", (_BAR, "green"), f"marks {own} to train on")
    if masked := masked_turns(entry):
        told.append("; ").append(_MASKED, "yellow").append(f"marks what is not: {counts(masked)}")
    grid.add_row("messages", told)
    return Group(Text(), grid)


def masked_turns(entry: Entry) -> dict[str, int]:
    """Why turns of the agent's are not trained on, and how many."""
    return Counter(message.masked for message in entry.messages if message.masked)


def violated(entry: Entry) -> dict[str, int]:
    """The conventions that turns broke, and how many turns did."""
    return Counter(rule for message in entry.messages for rule in message.violations)


def _outcome(entry: Entry) -> Iterator[tuple[str, str]]:
    outcome = entry.outcome
    yield "outcome", f"{outcome.label} ({outcome.confidence:.2f})"
    for number, fact in enumerate(outcome.evidence):
        yield "because" if number == 0 else "", fact_text(fact)
    yield "failures", ", ".join(outcome.failures)
    yield "violations", counts(violated(entry)) if violated(entry) else ""


def _provenance(entry: Entry) -> Iterator[tuple[str, str | None]]:
    yield "entry", entry.entry_id
    yield "kind", entry.kind
    yield "task", entry.task
    yield "role", " of ".join(part for part in (entry.role, entry.rig) if part)
    if entry.kind == "session" or entry.bead:
        yield "bead", _bead(entry)
    yield "agent", " ".join(part for part in (entry.agent, entry.model) if part)
    yield "origin", f"{entry.origin} ({entry.source})"
    yield "run", entry.run_id
    if entry.started_at or entry.ended_at or entry.cut:
        yield "span", "; ".join(part for part in (span(entry.started_at, entry.ended_at), entry.cut) if part)
    yield "cwd", entry.cwd
    yield "git head", entry.git_head
    yield "in force", _conventions(entry)
    yield "redacted", f"{counts(entry.redactions)}; scrubber {entry.scrubber}"
    yield "dropped", counts(entry.dropped)


def _conventions(entry: Entry) -> str:
    """The hashes of what told the agent how to behave."""
    if (told := entry.conventions) is None:
        return ""
    hashes = {"instructions": told.instructions, "formulas": told.formulas}
    parts = [f"{name} {digest[:12]}" for name, digest in hashes.items() if digest]
    return ", ".join([*parts, f"gt {told.gt_version}"] if told.gt_version else parts)


def _bead(entry: Entry) -> str:
    if entry.bead is None:
        return "none"
    kind = f", {entry.issue_type}" if entry.issue_type else ""
    return f"{entry.bead}, episode {entry.episode}{kind}" + (f", database {entry.database}" if entry.database else "")


def _message(message: Message, names: Mapping[str, str], entry: Entry, *, full: bool) -> Iterator[Text]:
    dim = "" if message.trainable else show.DIM
    head = Text(message.role, _ROLES.get(message.role, "bold"))
    aside = (
        message.kind if message.kind != "turn" else "",
        names.get(message.tool_call_id or "", ""),
        message.task if message.task and message.task != entry.task else "",
    )
    head.append("".join(f"  {show.clean(word)}" for word in aside if word), show.DIM)
    if message.is_error:
        head.append("  error", show.BAD)
    if message.masked:
        head.append(f"  not trained on: {message.masked.replace('_', ' ')}", "yellow")
    yield head.append("".join(f"  broke {show.clean(rule)}" for rule in message.violations), show.BAD)
    for sha256 in message.refs:
        yield Text(f"(the text {sha256[:12]}, stored once)", show.DIM)
    content = message.content
    if not full and len(content) > _SHOWN_CHARACTERS:
        content = f"{content[:_SHOWN_CHARACTERS]} ... {len(content) - _SHOWN_CHARACTERS} more characters, see --full"
    yield from _lines(content, dim)
    for call in message.tool_calls:
        yield from _lines(call_text(call, full=full), "magenta")


def _lines(text: str, style: str) -> Iterator[Text]:
    for line in text.expandtabs(4).splitlines():
        yield Text(show.clean(line), style)
