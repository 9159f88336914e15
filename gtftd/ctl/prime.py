"""gtftctl prime: how a session begins, short where the model learned the rest, and gt's own prime everywhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import prime_report, show
from gtftd.ctl.target import ConfigOption, Json, StateOption, Target, TownOption, on_target

if TYPE_CHECKING:
    from gtftd.ctl.prime_ask import Decision
    from gtftd.town.hook_reports import HookChange, HookStatus
    from gtftd.town.prime_hooks import Scope
    from gtftd.town.prime_script import Known

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
    from gtftd.ctl.prime_run import Wanted, begin, decide_for
    from gtftd.town.identity import ROLES, parse_role

    if full and reduced:
        raise typer.BadParameter("give one of --full and --reduced")
    if role is not None and parse_role(role) is None:
        raise typer.BadParameter(f"{role} is none of {', '.join(ROLES)}, and no address", param_hint="--role")
    wanted = Wanted(Asked(role, rig, bead, forced=reduced), hook, full, town, state_dir, config)
    if explain or as_json:
        _explain(decide_for(wanted).decision, as_json=as_json)
    else:
        begin(wanted)


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
