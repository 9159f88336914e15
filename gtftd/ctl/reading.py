"""gtftctl status, health, reactions, metrics, logs, version, watch: commands that only look."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.control.wire import JsonObject
from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target

if TYPE_CHECKING:
    from rich.table import Table

    from gtftd.schemas.control import ConditionStatus, ReactionStatus, StatusResult, TrainingStatus

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
_COLORS = {"debug": show.DIM, "info": show.CALM, "warning": "yellow", "error": show.BAD, "critical": show.BAD}


def register(app: typer.Typer) -> None:
    for command in (status, health, reactions, metrics, logs, watch, version):
        app.command()(on_target(command))


def status(target: Target, *, as_json: Json = False) -> None:
    """The daemon at one glance. Exit code 1 while a part of it is degraded."""
    result = target.client().call("status")
    conditions = result.get("health", [])
    if as_json:
        show.print_json(result)
    else:
        from gtftd.schemas.control import StatusResult

        _show_status(StatusResult.model_validate(result))
    _exit_if_degraded(conditions)


def health(target: Target, *, as_json: Json = False) -> None:
    """What works and what does not. Exit code 1 while something is degraded."""
    result = target.client().call("health")
    if as_json:
        show.print_json(result)
    else:
        from gtftd.schemas.control import HealthResult

        show.console().print(_conditions(HealthResult.model_validate(result).conditions))
    _exit_if_degraded(result.get("conditions", []))


def reactions(target: Target, *, as_json: Json = False) -> None:
    """Every reaction with its counts."""
    result = target.client().call("reactions")
    if as_json:
        show.print_json(result)
        return
    from gtftd.schemas.control import ReactionsResult

    show.console().print(_reactions(ReactionsResult.model_validate(result).reactions))


def metrics(target: Target, *, as_json: Json = False) -> None:
    """The metrics as Prometheus reads them."""
    result = target.client().call("metrics")
    if as_json:
        show.print_json(result)
    else:
        sys.stdout.write(str(result.get("text", "")))


def version(target: Target, *, as_json: Json = False) -> None:
    """The version of the running daemon."""
    result = target.client().call("version")
    if as_json:
        show.print_json(result)
    else:
        show.print_line(f"gtftd {result.get('version')} (pid {result.get('pid')}, protocol {result.get('protocol')})")


def logs(
    target: Target,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many of the last.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    level: Annotated[str, typer.Option("--level", help="debug, info, warning or error.")] = "info",
    as_json: Json = False,
) -> None:
    """The daemon's log; also of a daemon that has ended."""
    if level not in _LEVELS:
        raise typer.BadParameter(f"{level!r} is none of debug, info, warning, error", param_hint="--level")
    from gtftd.errors import NoDaemon

    try:
        for item in target.client().stream("logs", lines=lines, follow=follow, level=level):
            _print_log_line(str(item.get("line", "")), as_json=as_json)
    except NoDaemon:
        from gtftd.control.logtail import last_lines, log_file

        if follow or not log_file(target.state_dir).is_file():
            raise
        for line in last_lines(log_file(target.state_dir), lines, level):
            _print_log_line(line, as_json=as_json)
    except KeyboardInterrupt:
        return


def watch(target: Target, *, as_json: Json = False) -> None:
    """Live view of a running daemon, until Ctrl-C; plain lines in a pipe."""
    target.client().call("version")
    if not as_json:
        from gtftd.ctl.live import follow_until_signal

        follow_until_signal(target)
        return
    with contextlib.suppress(KeyboardInterrupt):
        for item in target.client().stream("watch"):
            show.print_line(json.dumps(item, ensure_ascii=False))
            sys.stdout.flush()


def _exit_if_degraded(conditions: list[JsonObject]) -> None:
    if any(condition.get("state") == "degraded" for condition in conditions):
        raise typer.Exit(1)


def _show_status(result: StatusResult) -> None:
    from rich.text import Text

    out = show.console()
    head = Text(f"gtftd {result.version}  ", style="bold")
    head.append(result.state, style=show.STATES.get(result.state, show.BAD))
    head.append(f"  for {show.span(result.uptime_s)}, pid {result.pid}", style=show.DIM)
    out.print(head)
    facts = show.table("", "")
    facts.show_header = False
    for name, value in _facts(result):
        facts.add_row(Text(name, style=show.DIM), Text(show.clean(value)))
    out.print(facts)
    _show_training(result.training)
    for heading, part in (
        ("sources", _sources(result)),
        ("reactions", _reactions(result.reactions)),
        ("health", _conditions(result.health)),
    ):
        if part.row_count:
            out.print()
            out.print(Text(heading, style="bold"))
            out.print(part)


def _show_training(training: TrainingStatus) -> None:
    from rich.text import Text

    from gtftd.ctl.training_lines import status_lines

    lines = list(status_lines(training))
    if lines:
        out = show.console()
        out.print()
        out.print(Text("training", style="bold"))
        for line in lines:
            out.print(Text(line, style="yellow" if line.lstrip().startswith("!") else ""))


def _facts(result: StatusResult) -> list[tuple[str, str]]:
    bus = result.bus
    kept = sum(stream.messages for stream in bus.streams)
    connected = "connected" if bus.connected else "not connected"
    roles = ", ".join(f"{role} {count}" for role, count in sorted(result.entries.by_role.items()))
    closes = result.closes
    facts = [
        ("town", result.town),
        ("state", result.state_dir),
        ("bus", f"{bus.mode} {bus.url}, {connected}, {kept} messages kept"),
        ("waiting", f"outbox {result.outbox}, spool {result.spool_pending}"),
        ("closes", f"{closes.seen} seen, {closes.with_entry} with an entry, {closes.skipped} skipped"),
        ("entries", f"{result.entries.total} in {result.entries.folder}" + (f" ({roles})" if roles else "")),
    ]
    facts += [("found by sweep", f"{what} {count}") for what, count in sorted(result.missed.items()) if count]
    facts += [("ESTOP", f"{stop.rig or 'whole town'}: {stop.reason}") for stop in result.estop]
    return facts


def _sources(result: StatusResult) -> Table:
    table = show.table("source", "facts", "last", "condition", right=("facts",))
    for source in result.sources:
        table.add_row(source.name, str(source.facts), show.age(source.last_fact_at), source.condition or "ok")
    return table


def _reactions(rows: tuple[ReactionStatus, ...]) -> Table:
    counts = ("pending", "running", "done", "retried", "parked", "p50", "p99")
    table = show.table("reaction", "state", *counts, "last", right=counts)
    for row in rows:
        table.add_row(
            row.name,
            f"[{show.STATES.get(row.state, show.BAD)}]{row.state}[/]",
            *(str(count) for count in (row.pending, row.running, row.done, row.retried)),
            f"[{show.BAD}]{row.parked}[/]" if row.parked else "0",
            show.milliseconds(row.p50_ms),
            show.milliseconds(row.p99_ms),
            show.age(row.last_done_at),
        )
    return table


def _conditions(rows: tuple[ConditionStatus, ...]) -> Table:
    from rich.text import Text

    table = show.table("component", "state", "condition", "since", "detail")
    for row in rows:
        style = show.STATES.get(row.state, show.DIM if row.state == "off" else show.BAD)
        since = show.age(row.since) if row.since else ""
        table.add_row(row.component, Text(row.state, style=style), row.name, since, Text(show.clean(row.detail)))
    return table


def _print_log_line(line: str, *, as_json: bool) -> None:
    if as_json:
        show.print_line(line)
        sys.stdout.flush()
        return
    from rich.text import Text

    try:
        fields = json.loads(line)
        moment, level, event = (str(fields.pop(key, "")) for key in ("timestamp", "level", "event"))
    except (ValueError, AttributeError):
        show.print_line(show.clean(line))
        return
    text = Text(f"{moment[:19].replace('T', ' ')} ", style=show.DIM)
    text.append(f"{level:8}", style=_COLORS.get(level, ""))
    text.append(f"{show.clean(event)} ", style="bold")
    trace = str(fields.pop("exception", ""))
    text.append(show.clean(" ".join(f"{key}={value}" for key, value in fields.items())))
    show.console().print(text, soft_wrap=True)
    if trace:
        show.print_line(trace)
