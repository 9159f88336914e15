"""One training entry as a page for a terminal: pure, so that a test can look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gtftd.ctl import show
from gtftd.schemas.corpus import Entry, Message, ToolCall

_SHOWN_CHARACTERS = 2000
_SHOWN_VALUE = 60
_BAR = "┃ "
_SHELLS = {"Bash", "bash", "shell"}
_ROLES = {"assistant": "bold green", "user": "bold cyan", "tool": "yellow"}


def draw(entry: Entry, path: Path, console: Console, *, full: bool) -> Iterator[RenderableType]:
    """Whose work it was, what became of it and why we believe so, then every message.

    A bar stands before the messages that are trained on. On a terminal long lines are broken so that it goes on;
    elsewhere a line stays one.
    """
    yield _headline(entry)
    yield _facts(entry, path)
    width = console.width - len(_BAR) if console.is_terminal else None
    names = {call.id: call.name for message in entry.messages for call in message.tool_calls}
    for message in entry.messages:
        bar = Text(_BAR, "green") if message.trainable else Text("  ")
        yield Text()
        for line in _message(message, names, full=full):
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
    if call.name in _SHELLS and isinstance(command, str):
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
    head.append(show.clean(which(entry.bead, entry.episode) if entry.bead else _named(entry)), "bold")
    if entry.title:
        head.append(f"  {show.clean(entry.title)}", "bold")
    head.append(f"\n{show.clean(who(entry.actor, entry.rig, entry.role))}")
    label = entry.outcome.label
    return head.append("  ").append(label, show.OUTCOMES.get(label, ""))


def _named(entry: Entry) -> str:
    return f"session {entry.session_id[:8]}" if entry.session_id else entry.origin


def _facts(entry: Entry, path: Path) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=show.DIM, no_wrap=True)
    grid.add_column(overflow="fold")
    outcome = entry.outcome
    own = sum(message.trainable for message in entry.messages)
    for name, value in (
        ("outcome", f"{outcome.label} ({outcome.confidence:.2f})"),
        *(("because" if number == 0 else "", fact.detail) for number, fact in enumerate(outcome.evidence)),
        ("role", " of ".join(part for part in (entry.role, entry.rig) if part)),
        ("bead", _bead(entry)),
        ("agent", " ".join(part for part in (entry.agent, entry.model) if part)),
        ("origin", f"{entry.origin} ({entry.source})"),
        ("run", entry.run_id),
        ("span", f"{span(entry.started_at, entry.ended_at)}; {entry.cut}"),
        ("cwd", entry.cwd),
        ("git head", entry.git_head),
        ("redacted", f"{_counts(entry.redactions)}; scrubber {entry.scrubber}"),
        ("dropped", _counts(entry.dropped)),
        ("file", str(path)),
    ):
        if value:
            grid.add_row(name, Text(show.clean(value)))
    grid.add_row("messages", Text.assemble(f"{len(entry.messages)}; ", (_BAR, "green"), f"marks {own} to train on"))
    return Group(Text(), grid)


def _bead(entry: Entry) -> str:
    if entry.bead is None:
        return "none"
    kind = f", {entry.issue_type}" if entry.issue_type else ""
    return f"{entry.bead}, episode {entry.episode}{kind}" + (f", database {entry.database}" if entry.database else "")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "nothing"


def _message(message: Message, names: Mapping[str, str], *, full: bool) -> Iterator[Text]:
    dim = "" if message.trainable else show.DIM
    head = Text(message.role, _ROLES.get(message.role, "bold"))
    aside = (message.kind if message.kind != "turn" else "", names.get(message.tool_call_id or "", ""))
    head.append("".join(f"  {show.clean(word)}" for word in aside if word), show.DIM)
    yield head.append("  error", show.BAD) if message.is_error else head
    content = message.content
    if not full and len(content) > _SHOWN_CHARACTERS:
        content = f"{content[:_SHOWN_CHARACTERS]} ... {len(content) - _SHOWN_CHARACTERS} more characters, see --full"
    yield from _lines(content, dim)
    for call in message.tool_calls:
        yield from _lines(call_text(call, full=full), "magenta")


def _lines(text: str, style: str) -> Iterator[Text]:
    for line in text.expandtabs(4).splitlines():
        yield Text(show.clean(line), style)
