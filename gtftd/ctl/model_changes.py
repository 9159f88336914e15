"""gtftctl model register, score, mark, deploy, rollback, withdraw, prune, tag, untag: decisions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gtftd.ctl import show
from gtftd.ctl.model_names import STATUSES, DryRun, Model, Rig, RoleOption, Why, Yes, complete_status
from gtftd.ctl.model_open import actor, registry_of, tell_daemon
from gtftd.ctl.model_pairs import keep_pairs, whole_id
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Invalid, Refused

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gtftd.schemas.event import Event
    from gtftd.schemas.registry import ModelEntry

    Shape = TypeVar("Shape", bound=BaseModel)


def register(app: typer.Typer) -> None:
    for command in (mark, deploy, rollback, withdraw, prune, tag, untag, score):
        app.command()(on_target(command))
    app.command("register")(on_target(register_model))


def register_model(
    target: Target,
    folder: Annotated[
        Path, typer.Argument(exists=True, help="Adapter or model: safetensors or GGUF and their JSON files.")
    ],
    *,
    about: Annotated[Path, typer.Option("--about", exists=True, dir_okay=False, help="JSON: what it was made of.")],
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Take a model up under the next version of its role. The same again is the version that it has.

    The file says role, base_model, base_digest, tokenizer_sha256, corpus_hash and trained_at, and may say kind (role,
    task), snapshot, parent, job, examples, dpo_pairs, lora_rank, lora_adapters, compatible_with, training_config,
    conventions.
    """
    from gtftd.schemas.registry import Candidate

    candidate = _validated(Candidate, about)
    registry = registry_of(target)
    if candidate.snapshot is not None:
        candidate = candidate.model_copy(update={"snapshot": whole_id(target, candidate.snapshot)})
        keep_pairs(registry, target.state_dir, str(candidate.snapshot))
    model = registry.register(folder, candidate, actor(), why)
    tell_daemon(target)
    _told(model, f"{model.name} is registered; artifact {model.artifact[:12]}", as_json=as_json)


def score(
    target: Target,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An examination as JSON.")],
    *,
    as_json: Json = False,
) -> None:
    """Keep an examination: id, model, suite, at, items, and scores by category ('': the whole) with n, low, high."""
    from gtftd.schemas.registry import Evaluation

    evaluation = _validated(Evaluation, file)
    registry = registry_of(target)
    with registry.change(actor()) as changes:
        changes.evaluate(evaluation)
    tell_daemon(target)
    model = registry.model(evaluation.model)
    whole = evaluation.scores[""]
    _told(model, f"{model.name}: {whole.score:.1%} of {whole.n} in {evaluation.suite}", as_json=as_json)


def mark(
    target: Target,
    name: Model,
    status: Annotated[str, typer.Argument(help="gated, held, flagged, tainted, ...", autocompletion=complete_status)],
    *,
    why: Why,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give a model another status by hand. `active` comes by `deploy` alone; `tainted` is for ever."""
    if status not in STATUSES or status in {"active", "canary", "registered"}:
        allowed = ", ".join(one for one in STATUSES if one not in {"active", "canary", "registered"})
        raise typer.BadParameter(f"{status!r} is not given by hand; one of: {allowed}", param_hint="STATUS")
    if status == "tainted" and not dry_run:
        _confirm(f"Taint {name}? It will never serve again.", yes=yes)
    registry = registry_of(target)
    with registry.change(actor(), why, dry_run=dry_run) as changes:
        known = changes.reading.model(name).name
        if status == "tainted":
            changes.taint(known)
        else:
            changes.move(known, status)  # type: ignore[arg-type]  # checked above
    _decided(
        target, [fact.event for fact in changes.facts], f"{known} is {status} already", dry_run=dry_run, as_json=as_json
    )


def deploy(
    target: Target,
    name: Model,
    *,
    rig: Rig = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Decide that a model serves its role, in one rig or in the whole town. It must have passed its gate."""
    registry = registry_of(target)
    model = registry.model(name)
    _check_rig(target, rig)
    _check_stop(target, rig)
    if not dry_run:
        _confirm(f"Deploy {model.name} for {model.role} in {rig or 'the whole town'}?", yes=yes, only_on_terminal=True)
    facts = registry.deploy(model.name, rig or "", actor(), why, dry_run=dry_run)
    nothing = f"{model.name} serves {model.role} in {rig or 'the whole town'} already"
    _decided(target, facts, nothing, dry_run=dry_run, as_json=as_json)


def rollback(
    target: Target,
    role: Annotated[str, typer.Argument(metavar="ROLE|MODEL", help="The role, or the model that serves it.")],
    *,
    rig: Rig = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="MODEL", help="Not to what served before, but to this.")
    ] = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Decide that a role is served by what served it before; by the town's own agent where nothing of ours did."""
    _check_rig(target, rig)
    registry = registry_of(target)
    with registry.reading() as reading:
        role = reading.model(role).role if "-v" in role or "@" in role else role
        serving = reading.serving(role, rig or "")
    if not dry_run and serving is not None:
        _confirm(f"Roll {role} back from {serving}?", yes=yes, only_on_terminal=True)
    with registry.change(actor(), why, dry_run=dry_run) as changes:
        changes.rollback(role, rig or "", changes.reading.model(to).name if to else None)
    _decided(target, [fact.event for fact in changes.facts], "", dry_run=dry_run, as_json=as_json)


def withdraw(
    target: Target,
    role: Annotated[str, typer.Argument()],
    *,
    rig: Rig = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Decide that none of our models serves a role any more."""
    if not dry_run:
        _confirm(f"Withdraw our model from {role} in {rig or 'the whole town'}?", yes=yes, only_on_terminal=True)
    with registry_of(target).change(actor(), why, dry_run=dry_run) as changes:
        changes.withdraw(role, rig or "")
    nothing = f"none of our models serves {role} in {rig or 'the whole town'}"
    _decided(target, [fact.event for fact in changes.facts], nothing, dry_run=dry_run, as_json=as_json)


def prune(
    target: Target,
    *,
    role: RoleOption = None,
    keep: Annotated[int, typer.Option("--keep", min=0, help="The newest versions of each role that stay.")] = 3,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete the bytes of old models; what they were and where they came from stays known.

    What serves, what a rollback would lead to, and what has a name of its own stays.
    """
    registry = registry_of(target)
    with registry.reading() as reading:
        chosen = reading.prunable(role, keep)
    if not chosen:
        show.print_json({"pruned": [], "freed_bytes": 0}) if as_json else show.print_line("nothing to prune")
        return
    names = [model.name for model in chosen]
    if not dry_run:
        _confirm(f"Delete the bytes of {', '.join(names)}? It cannot be undone.", yes=yes)
        pruned = registry.prune(role, keep, actor(), why, only=names)
        tell_daemon(target)
        names, freed = list(pruned.models), pruned.freed_bytes
    else:
        with registry.reading() as reading:
            freed = reading.stored_bytes(names)
    if as_json:
        show.print_json({"pruned": names, "freed_bytes": freed, "dry_run": dry_run})
    else:
        show.print_line(f"{'would prune' if dry_run else 'pruned'} {', '.join(names)}: {show.size(freed)}")


def tag(target: Target, name: Model, alias: Annotated[str, typer.Argument()], *, as_json: Json = False) -> None:
    """Give a model a name: `gtftctl model tag mayor-v3 best` makes mayor@best. It moves from the one that had it."""
    if not alias.replace("-", "").isalnum() or len(alias) > 40:
        raise typer.BadParameter(f"{alias!r}: letters, digits and - alone, at most 40", param_hint="ALIAS")
    registry = registry_of(target)
    with registry.change(actor()) as changes:
        model = changes.reading.model(name)
        changes.tag(model.name, alias)
    _told(registry.model(model.name), f"{model.role}@{alias} is {model.name}", as_json=as_json)


def untag(target: Target, name: Annotated[str, typer.Argument(metavar="SERIES@ALIAS")]) -> None:
    """Take such a name away."""
    series, _, alias = name.partition("@")
    with registry_of(target).change(actor()) as changes:
        changes.untag(series, alias)
    show.print_line(f"{name} is no more")


def _decided(target: Target, facts: Sequence[Event], nothing: str, *, dry_run: bool, as_json: bool) -> None:
    """Say what was decided, in the order in which it is told to the bus."""
    if facts and not dry_run:
        tell_daemon(target)
    if as_json:
        told = [{"event": fact.subject, **fact.model_dump(mode="json")} for fact in facts]
        show.print_json({"dry_run": dry_run, "facts": told})
        return
    for fact in facts:
        show.print_line(("would be: " if dry_run else "") + show.clean(_sentence(fact)))
    if not facts:
        show.print_line(nothing)


def _sentence(fact: Event) -> str:
    from gtftd.schemas.registry import DeploymentDecided, ModelChanged

    if isinstance(fact, DeploymentDecided):
        by = fact.model or "none of our models"
        before = fact.previous or "none of ours"
        return f"{fact.role} in {fact.rig or 'the whole town'} is served by {by} (before: {before})"
    if isinstance(fact, ModelChanged):
        return f"{fact.model}: {fact.previous} -> {fact.status}"
    return fact.subject


def _told(model: ModelEntry, line: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json(model.model_dump(mode="json"))
    else:
        show.print_line(line)


def _check_rig(target: Target, rig: str | None) -> None:
    from gtftd.ctl.corpus_names import check_rig

    check_rig(target, rig)


def _check_stop(target: Target, rig: str | None) -> None:
    """While the town is stopped nothing new serves; the way back is open."""
    from gtftd.town.estop import EStop

    mark = EStop(target.known_town()).active(rig)
    if mark is not None:
        where = f"rig {mark.rig}" if mark.rig else "the town"
        raise Refused(f"{where} is stopped ({mark.reason or 'no reason is given'}); deploy when the stop is lifted")


def _confirm(question: str, *, yes: bool, only_on_terminal: bool = False) -> None:
    """On a terminal. Elsewhere what cannot be undone takes --yes."""
    if yes:
        return
    if sys.stdin.isatty():
        typer.confirm(question, abort=True)
    elif not only_on_terminal:
        raise Refused(f"{question} Nobody can be asked here; say --yes")


def _validated(model: type[Shape], path: Path) -> Shape:
    from pydantic import ValidationError

    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors(include_url=False)
        ]
        raise Invalid(f"{path}: " + "; ".join(lines)) from error
