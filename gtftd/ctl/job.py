"""gtftctl job: training jobs as the records and the town's beads have them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtftd.ctl import show
from gtftd.ctl.model_looks import reading_of
from gtftd.ctl.model_open import registry_of, tell_daemon
from gtftd.ctl.model_pairs import keep_pairs, whole_id
from gtftd.ctl.model_tables import table
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Invalid

if TYPE_CHECKING:
    from gtftd.registry import Registry
    from gtftd.schemas.registry import TrainingJob

app = typer.Typer(help="Training jobs, and what the town is told of them.", no_args_is_help=True)
STATES = (
    "corpus-validating", "ready", "training", "syncing", "checkpointing", "evaluating", "done", "failed", "degraded",
)  # fmt: skip
JobId = Annotated[str, typer.Argument(metavar="JOB")]


def list_jobs(
    target: Target,
    *,
    state: Annotated[str | None, typer.Option("--state")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """The newest first."""
    with reading_of(target) as reading:
        jobs = reading.jobs(_state(state) if state else None, limit)
    if as_json:
        show.print_json([job.model_dump(mode="json") for job in jobs])
        return
    cells = [
        (one.id, one.role, one.objective, one.state, one.model or "-", one.bead or "-", f"{one.updated_at:%m-%d %H:%M}")
        for one in jobs
    ]
    show.print_line(table(("JOB", "ROLE", "OBJECTIVE", "STATE", "MODEL", "BEAD", "SINCE (UTC)"), cells))


def show_job(target: Target, job: JobId, *, as_json: Json = False) -> None:
    """One job, whole."""
    with reading_of(target) as reading:
        found = reading.job(job)
    _told(found, as_json=as_json)


def create(
    target: Target,
    series: Annotated[str, typer.Argument(metavar="ROLE|TASK")],
    *,
    objective: Annotated[str, typer.Option("--objective", help="sft, dpo, kto, ...")] = "sft",
    task: Annotated[bool, typer.Option("--task", help="An adapter for a task, not the model of a role.")] = False,
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="The corpus, as far as it is known yet.")] = None,
    settings: Annotated[Path | None, typer.Option("--settings", exists=True, dir_okay=False, help="JSON.")] = None,
    job: Annotated[str | None, typer.Option("--id", help="By default a new one.")] = None,
    note: Annotated[str, typer.Option("--note")] = "",
    as_json: Json = False,
) -> None:
    """Record a training job: rows, a fact, and beads in the town (one for the corpus, one for the training)."""
    from gtftd.registry import JobRequest
    from gtftd.schemas.registry import Kind

    kind: Kind = "task" if task else "role"
    registry = registry_of(target)
    resolved = registry.cleaned(_settings(settings))
    full = _snapshot(target, registry, snapshot)
    with registry.jobs() as jobs:
        request = JobRequest(kind, series, objective, full, resolved, note)
        made = jobs.create(request, registry.now(), job or f"{series}-{uuid.uuid4().hex[:8]}")
    tell_daemon(target)
    _told(made, as_json=as_json)


def advance(
    target: Target,
    job: JobId,
    state: Annotated[str, typer.Argument(help=", ".join(STATES))],
    *,
    note: Annotated[str, typer.Option("--note")] = "",
    model: Annotated[str | None, typer.Option("--model", help="The model that came of it.")] = None,
    snapshot: Annotated[str | None, typer.Option("--snapshot")] = None,
    as_json: Json = False,
) -> None:
    """Say how far a job is; for trainings that run elsewhere. The same again changes nothing."""
    registry = registry_of(target)
    full = _snapshot(target, registry, snapshot)
    with registry.jobs() as jobs:
        now = jobs.advance(job, _state(state), registry.now(), note, model, full)
    tell_daemon(target)
    _told(now, as_json=as_json)


def retell(target: Target, job: JobId) -> None:
    """Tell `bd` once more what it refused of this job."""
    with registry_of(target).jobs() as jobs:
        count = jobs.retell(job)
    tell_daemon(target)
    refused = f"{show.count(count, 'intent')} of {job} will be told again"
    show.print_line(refused if count else f"nothing of {job} was refused")


app.command("list")(on_target(list_jobs))
app.command("show")(on_target(show_job))
for command in (create, advance, retell):
    app.command()(on_target(command))


def _told(job: TrainingJob, *, as_json: bool) -> None:
    if as_json:
        show.print_json(job.model_dump(mode="json"))
        return
    for name, value in job.model_dump(mode="json", exclude_none=True).items():
        told = json.dumps(value) if isinstance(value, dict) else str(value)
        if told:
            show.print_line(f"{name + ':':<12} {show.clean(told)}")


def _state(state: str) -> Any:
    if state not in STATES:
        raise typer.BadParameter(f"{state!r} is none of {', '.join(STATES)}", param_hint="STATE")
    return state


def _snapshot(target: Target, registry: Registry, prefix: str | None) -> str | None:
    """The whole id; its pairs are kept."""
    if prefix is None:
        return None
    full = whole_id(target, prefix)
    keep_pairs(registry, target.state_dir, full)
    return full


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Invalid(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value
