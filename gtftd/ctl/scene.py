"""What the live view shows, drawn for a given size: pure, so that a test can look at it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gtftd.ctl import show
from gtftd.ctl.page import about, who
from gtftd.ctl.training_lines import live_line

if TYPE_CHECKING:
    from gtftd.schemas.control import HappeningResult, ReactionStatus, StatusResult
    from gtftd.schemas.corpus_views import EntryRow

_FRAME_LINES, _HEAD_LINES, _GAPS = 2, 2, 3
_ALONE = "bead changes rig role actor path database type outcome kind source change how start tmux_session"
_WORDS: dict[str | tuple[str, str], str] = {
    **dict.fromkeys(_ALONE.split(), "{}"),
    "by": "by {}",
    "closed_by": "by {}",
    "session_id": "session {}",
    "redactions": "{} redacted",
    "reason": "({})",
    ("bead.assigned", "actor"): "to {}",
    ("bead.released", "actor"): "by {}",
}
"""How a detail is said; one that is not here is said as `key=value`."""
_COUNTED = {"rows": "row", "messages": "message"}
_WIDE = 94
_MOST_RUNS = 3
_NOT_SAID = {"id", "sha256"}
_KINDS = {"event": show.CALM, "reaction": "yellow", "entry": show.GOOD, "condition": "yellow"}
_EVENTS = {"bead.closed": show.GOOD, "bead.touched": show.DIM, "turn.ended": show.DIM, "gt.logged": show.DIM}


@dataclass(frozen=True)
class Scene:
    """Everything on the screen. `note` is one line for a person; `status` is None while nobody answers."""

    town: str
    status: StatusResult | None = None
    entries: tuple[EntryRow, ...] = ()
    happenings: tuple[HappeningResult, ...] = ()
    note: str = ""
    ending: bool = False


def draw(scene: Scene, width: int, height: int) -> RenderableType:
    """Fits into `width` x `height`; below 60 x 16 something is cut."""
    status = scene.status
    body: list[RenderableType] = [_head(scene)]
    if status is None:
        body += [Text(), Text("waiting for the daemon ...", style=show.DIM)]
    else:
        room = height - _FRAME_LINES - _HEAD_LINES - _GAPS
        rows = min(max(len(status.sources), len(status.reactions)), max(2, room * 2 // 5))
        bad = [condition for condition in status.health if condition.state == "degraded"][:3]
        training = _training(status)[: max(0, room - rows - 7 - len(bad))]
        left = room - rows - 1 - len(bad) - len(training) - 2
        entry_lines = max(2, left // 2)
        event_lines = max(2, left - entry_lines)
        body += [_trouble(status)] if bad else []
        body += training
        body += [Text(), _middle(status, rows, width - 4), Text(), _ticker(scene, event_lines)]
        body += [Text(), _entries(scene, entry_lines, is_wide=width - 4 >= _WIDE)]
    hint = "ending ..." if scene.ending else "Ctrl-C ends"
    return Panel(
        Group(*body),
        box=box.ROUNDED,
        border_style=show.DIM,
        title=Text(" gtftd ", style="bold"),
        title_align="left",
        subtitle=Text(f" {scene.note + '  ·  ' if scene.note else ''}{hint} ", style=show.DIM, overflow="ellipsis"),
        subtitle_align="right",
        width=width,
        height=height,
        padding=(0, 1),
    )


def line_of(happening: HappeningResult) -> str:
    """One happening as plain text: `bead.closed hb-1a2 by harbor/polecats/nux`."""
    told = {key: value for key, value in happening.detail.items() if value not in (None, "") and key not in _NOT_SAID}
    known = {"role", "rig"} if "actor" in told else set()
    known |= {"database"} if "bead" in told else set()
    known |= {"start"} if told.get("start") == "unknown" else set()
    known |= {"by"} if told.get("by") == told.get("actor") else set()
    words = [_said(happening.name, key, value) for key, value in told.items() if key not in known]
    return show.clean(" ".join([happening.name, *words]))


def _said(name: str, key: str, value: str | float) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    shown = shown[:8] if key.endswith("session_id") else shown
    if key in _COUNTED and isinstance(value, int):
        return show.count(value, _COUNTED[key])
    word = _WORDS.get((name, key), _WORDS.get(key, f"{key}={{}}"))
    return word.replace("{}", shown)


def _head(scene: Scene) -> RenderableType:
    status = scene.status
    top = Table.grid(expand=True)
    top.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    top.add_column(justify="right", no_wrap=True)
    state = status.state if status else "starting"
    name = Text("● ", style=show.STATES.get(state, show.BAD))
    name.append(state, style=f"bold {show.STATES.get(state, show.BAD)}").append(f"  {short_path(scene.town)}")
    top.add_row(name, Text(f"up {show.span(status.uptime_s)}" if status else "", style=show.DIM))
    if status is None:
        return top
    bus = status.bus
    kept = sum(stream.messages for stream in bus.streams)
    counts = Text(no_wrap=True, overflow="ellipsis", style=show.DIM)
    counts.append(f"{bus.mode} bus ")
    counts.append("connected" if bus.connected else "not connected", style=show.GOOD if bus.connected else show.BAD)
    counts.append(f" · {kept} facts kept · outbox {status.outbox} · spool {status.spool_pending}")
    if status.estop:
        counts.append(f" · ESTOP {status.estop[0].reason}", style=show.BAD)
    return Group(top, counts)


def _trouble(status: StatusResult) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    bad = [condition for condition in status.health if condition.state == "degraded"][:3]
    for number, condition in enumerate(bad):
        text.append("\n" if number else "").append(f"! {condition.name}  ", style="yellow")
        text.append(show.clean(condition.detail), style=show.DIM)
    return text


def _training(status: StatusResult) -> list[Text]:
    """A line for each run that runs, and for what is wrong with it."""
    lines = []
    for run in [run for run in status.training.runs if run.stage == "running"][:_MOST_RUNS]:
        line = Text("↻ ", style=show.CALM, no_wrap=True, overflow="ellipsis")
        lines.append(line.append(show.clean(live_line(run)), style=""))
        if run.problem:
            lines.append(Text(f"! {show.clean(run.problem)}", style="yellow", no_wrap=True, overflow="ellipsis"))
    return lines


def _middle(status: StatusResult, rows: int, width: int) -> Table:
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    is_wide = width >= _WIDE
    table.add_column(no_wrap=True, width=36 if is_wide else min(24, width // 3))
    table.add_column(no_wrap=True, ratio=1)
    table.add_row(_sources(status, rows), _reactions(status.reactions, rows, is_wide=is_wide))
    return table


def _columns(*names: tuple[str, str], expand: bool = True) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=expand, header_style=show.DIM)
    for number, (name, justify) in enumerate(names):
        right = justify == "right"
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=None if number else 1,
        )
    return table


def _sources(status: StatusResult, rows: int) -> Table:
    table = _columns(("sources", "left"), ("facts", "right"), ("last", "right"))
    now = time.time()
    for source in status.sources[:rows]:
        name = Text(source.name)
        if source.condition:
            name = Text(f"{source.name} {source.condition}", style="yellow")
        last = show.span(max(0.0, now - source.last_fact_at)) if source.last_fact_at else "-"
        table.add_row(name, str(source.facts), Text(last, style=show.DIM))
    return table


def _reactions(reactions: tuple[ReactionStatus, ...], rows: int, *, is_wide: bool) -> Table:
    names = ("  done", "retried", "parked", "   p50") if is_wide else ("done", "retried", "parked", "p50")
    table = _columns(("reactions", "left"), *((name, "right") for name in names), expand=False)
    for row in reactions[:rows]:
        name = Text(row.name, style="yellow" if row.state == "paused" else "")
        if row.running:
            name.append(" ●", style=show.CALM)
        table.add_row(
            name,
            Text(str(row.done), style=show.GOOD if row.done else show.DIM),
            Text(str(row.retried), style="yellow" if row.retried else show.DIM),
            Text(str(row.parked), style=show.BAD if row.parked else show.DIM),
            Text(show.milliseconds(row.p50_ms), style=show.DIM),
        )
    return table


def _ticker(scene: Scene, lines: int) -> RenderableType:
    news = [happening for happening in scene.happenings if happening.kind != "entry" and is_news(happening)]
    shown = news[-lines:]
    text = [Text("events", style=show.DIM)]
    for happening in shown:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{_clock(happening.at)}  ", style=show.DIM)
        name, _, rest = line_of(happening).partition(" ")
        line.append(f"{name:18} ", style=_EVENTS.get(name, _KINDS.get(happening.kind, ""))).append(rest)
        text.append(line)
    return Group(*text, *[Text()] * (lines - len(shown)))


def is_news(happening: HappeningResult) -> bool:
    """What a reaction has done, or puts off, shows in its counts; a stored entry in the list of entries."""
    if happening.kind == "event":
        return happening.name != "entry.stored"
    return happening.detail.get("result") not in {"done", "retried"}


def _entries(scene: Scene, lines: int, *, is_wide: bool) -> RenderableType:
    assert scene.status is not None
    stored = scene.status.entries
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("entries ", style=show.DIM).append(str(stored.total), style="bold")
    head.append(f" in {short_path(stored.folder)}", style=show.DIM)
    table = Table(box=None, padding=(0, 2 if is_wide else 1, 0, 0), pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    for row in scene.entries[:lines]:
        redacted = f", {row.redactions} redacted" if is_wide else ""
        table.add_row(
            Text(_clock(row.stored_at), style=show.DIM),
            Text(show.clean(who(row.actor, row.rig, row.role))),
            Text(show.clean(about(row))),
            Text(row.outcome, style=show.OUTCOMES.get(row.outcome, "")),
            Text(show.count(row.messages, "message") + redacted, style=show.DIM),
        )
    if not scene.entries:
        return Group(head, Text("none yet: one appears when a bead closes or a session ends", style=show.DIM))
    return Group(head, table)


def short_path(path: str) -> str:
    home = str(Path.home())
    return "~" + path.removeprefix(home) if path.startswith(home + "/") else path


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
