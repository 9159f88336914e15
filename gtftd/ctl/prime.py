"""gtftctl prime: how a session begins, short where the model learned the rest, and gt's own prime everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import prime_report, show
from gtftd.ctl.target import ConfigOption, Json, StateOption, Target, TownOption, on_target, resolve
from gtftd.errors import GtftdError, NotReady

if TYPE_CHECKING:
    from gtftd.ctl.prime_ask import Asked, Decision
    from gtftd.town.hook_reports import HookChange, HookStatus
    from gtftd.town.prime_hooks import Scope
    from gtftd.town.prime_script import Known
    from gtftd.town.session_files import HookInput

app = typer.Typer(
    help="How a session begins: short for our own models, gt's own prime for everybody else.",
    invoke_without_command=True,
)
Roles = Annotated[list[str] | None, typer.Option("--role", help="Only this role; may be given more than once.")]
Rigs = Annotated[list[str] | None, typer.Option("--rig", help="Only this rig; may be given more than once.")]


@app.callback()
def prime(
    context: typer.Context,
    *,
    role: Annotated[str | None, typer.Option("--role", help="Who begins; else GT_ROLE. An address will do.")] = None,
    rig: Annotated[str | None, typer.Option("--rig", help="In which rig; else GT_RIG.")] = None,
    bead: Annotated[str | None, typer.Option("--bead", help="The work at hand; else what is on the hook.")] = None,
    hook: Annotated[bool, typer.Option("--hook", help="Called by SessionStart: its JSON is on stdin.")] = False,
    full: Annotated[bool, typer.Option("--full", help="gt's own prime, without asking.")] = False,
    reduced: Annotated[
        bool, typer.Option("--reduced", help="The short prime, to look at, or why there is none.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Which prime it would be and why; prints neither.")
    ] = False,
    as_json: Json = False,
    town: TownOption = None,
    state_dir: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the short prime where everything speaks for it; in any doubt be `gt prime`.

    The short one is for agents that are our own models (own_agents), whose training date is known, when the daemon
    answers in time and within the budget.
    """
    if context.invoked_subcommand is not None:
        return
    from gtftd.ctl.prime_ask import Asked
    from gtftd.ctl.prime_gt import become_gt
    from gtftd.town.identity import ROLES, parse_role
    from gtftd.town.session_files import read_hook_input

    if full and reduced:
        raise typer.BadParameter("give one of --full and --reduced")
    if role is not None and parse_role(role) is None:
        raise typer.BadParameter(f"{role} is none of {', '.join(ROLES)}, and no address", param_hint="--role")
    given = read_hook_input() if hook else None
    asked = Asked(role, rig, bead, forced=reduced)
    target = _target(town, state_dir, config)
    decision = _full("it was asked for") if full else _decide(asked, target, given)
    if explain or as_json:
        _explain(decision, as_json=as_json)
    elif decision.reduced is not None:
        _print(decision, given, target)
    elif reduced:
        raise NotReady(decision.reason)
    else:
        actor = decision.asker.actor if role is not None and decision.asker is not None else None
        become_gt(hook=hook, raw=given.raw if given else b"", role=actor)


def _target(town: Path | None, state_dir: Path | None, config: Path | None) -> Target | str:
    """The daemon, or why there is none to ask."""
    try:
        return resolve(town, state_dir, config)
    except GtftdError as error:
        return str(error)


def _decide(asked: Asked, target: Target | str, hook: HookInput | None) -> Decision:
    from gtftd.ctl.prime_ask import Place, decide, here
    from gtftd.ctl.prime_options import read_options
    from gtftd.settings import find_socket

    if isinstance(target, str):
        return _full(target)
    try:
        options = read_options(target.config)
    except GtftdError as error:
        return _full(str(error))
    return decide(asked, Place(_town(target), find_socket(target.state_dir), here(), os.environ), options, hook)


def _town(target: Target) -> Path | None:
    """With a state directory alone the town is not told; it is where the agent is, or not known."""
    from gtftd.errors import Missing
    from gtftd.town.layout import find_town

    if target.town is not None:
        return target.town
    try:
        return find_town()
    except Missing:
        return None


def _full(reason: str) -> Decision:
    from gtftd.ctl.prime_ask import Decision

    return Decision(reason)


def _print(decision: Decision, hook: HookInput | None, target: Target | str) -> None:
    """The short prime first: what gt records of the session must not keep it waiting."""
    from gtftd.ctl.prime_gt import COMMAND, record_session

    assert decision.reduced is not None
    sys.stdout.write(decision.reduced.text)
    sys.stdout.flush()
    if hook is not None and isinstance(target, Target):
        record_session([*COMMAND, "--hook"], hook.raw, target.state_dir)


def _explain(decision: Decision, *, as_json: bool) -> None:
    from gtftd.ctl.prime_ask import as_json as told

    if as_json:
        show.print_line(told(decision))
        return
    asker, agent, reduced = decision.asker, decision.agent, decision.reduced
    lines = [("prime", "reduced" if reduced else "full"), ("because", decision.reason)]
    if asker is not None:
        whose = f" ({asker.actor})" if asker.actor else ""
        lines.append(("role", f"{asker.role}{f' of {asker.rig}' if asker.rig else ''}{whose}"))
        lines.append(("bead", asker.bead or "what is on the hook"))
        lines += [("step", asker.step)] if asker.step else []
    if agent is not None:
        lines.append(("agent", f"{agent.alias}: {agent.reason}" if agent.alias else f"in doubt: {agent.reason}"))
    if reduced is not None:
        lines.append(("tokens", f"{reduced.tokens:,}, counted by {reduced.counted_by}"))
        lines += [("", f"{section.tokens:6,}  {section.name}") for section in reduced.sections]
    for heading, text in lines:
        show.print_line(f"{heading:8} {show.clean(text)}".rstrip())


@app.command("install")
@on_target
def install(target: Target, *, role: Roles = None, rig: Rigs = None, as_json: Json = False) -> None:
    """Put our script before `gt prime --hook` in gt's settings of every role. Reversible; gt itself is not touched."""
    from gtftd.town import prime_hooks

    _report(prime_hooks.install(_scope(target, role, rig), _known(target)), as_json=as_json)


@app.command("uninstall")
@on_target
def uninstall(target: Target, *, role: Roles = None, rig: Rigs = None, as_json: Json = False) -> None:
    """Give gt's settings back, byte for byte where nothing else changed in them."""
    from gtftd.town import prime_hooks

    _report(prime_hooks.uninstall(_scope(target, role, rig)), as_json=as_json)


@app.command("status")
@on_target
def status(target: Target, *, role: Roles = None, rig: Rigs = None, as_json: Json = False) -> None:
    """Which prime each role gets by gt's settings, and whether that will last. Exit code 1 when something is wrong."""
    from gtftd.town import prime_hooks

    _report(prime_hooks.verify(_scope(target, role, rig), _known(target)), as_json=as_json)


def _scope(target: Target, roles: list[str] | None, rigs: list[str] | None) -> Scope:
    from gtftd.ctl.sample import enter_sample
    from gtftd.town.identity import ROLES
    from gtftd.town.layout import load_town
    from gtftd.town.prime_hooks import Scope

    root = target.known_town()
    own = {"GT_HOME": str(root / ".sample")} if enter_sample(root) else {}  # not into the overrides of this user's gt
    found = load_town(root)
    for name, chosen, known in (("--role", roles, ROLES), ("--rig", rigs, [one.name for one in found.rigs])):
        for one in chosen or ():
            if one not in known:
                raise typer.BadParameter(f"{one} is none of {', '.join(known)}", param_hint=name)
    return Scope(found, target.state_dir, roles or (), rigs or (), dict(os.environ) | own)


def _known(target: Target) -> Known:
    from gtftd.ctl.prime_options import read_options
    from gtftd.town.prime_script import Known

    return Known(target.known_town(), read_options(target.config).own_agents, target.config)


def _report(lines: Sequence[HookChange] | Sequence[HookStatus], *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        show.print_json([{**asdict(line), "path": str(line.path)} for line in lines])
    else:
        from rich.text import Text

        table = show.table("", "what", "where", "detail", folded=("detail",))
        for line in lines:
            mark = Text("ok", show.GOOD) if line.ok else Text("no", show.BAD)
            table.add_row(mark, Text(line.what), Text(_short(line.path)), Text(line.detail))
        show.console().print(table)
    if not all(line.ok for line in lines):
        raise typer.Exit(1)


def _short(path: Path) -> str:
    home = str(Path.home())
    return "~" + str(path)[len(home) :] if str(path).startswith(home + "/") else str(path)


app.command("report")(on_target(prime_report.report))
