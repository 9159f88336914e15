"""gtftctl train: from a snapshot to a registered adapter, by the daemon or without one."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gtftd.ctl import FAILED, INTERRUPTED, show
from gtftd.ctl.model_names import complete_role
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import NoDaemon, Refused

if TYPE_CHECKING:
    from gtftd.schemas.training_orders import RunView, TrainOrder, Will
    from gtftd.training.formula_vars import Recipe

app = typer.Typer(help="Train adapters: start, watch, pause, resume and stop runs.", invoke_without_command=True)
Run = Annotated[str, typer.Argument(metavar="RUN", help="Its name, or the first letters of it.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not wait for its end.")]
_ORDER_S = 150.0
_VERBS: dict[Will, str] = {"pause": "train.pause", "run": "train.resume", "stop": "train.stop"}


def start(
    target: Target,
    *,
    role: Annotated[str | None, typer.Option("--role", autocompletion=complete_role, help="Whose model.")] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="An adapter for this task, stacked on the role's model.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Its id, or the first letters of it; `latest` if not said.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="As `gtftctl base list` calls it.")] = None,
    objective: Annotated[
        Literal["sft", "dpo", "kto"] | None, typer.Option("--objective", help="sft if not said.")
    ] = None,
    settings: Annotated[Path | None, typer.Option("--settings", metavar="FILE.yaml")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="optimizer.learning_rate=1e-4, ...")
    ] = None,
    parent: Annotated[str | None, typer.Option("--from", metavar="MODEL", help="Go on from this model.")] = None,
    formula: Annotated[
        str | None, typer.Option("--formula", metavar="NAME|FILE", help="Its variables say what to train, and how.")
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable of the formula.")
    ] = None,
    insist: Annotated[bool, typer.Option("--even-if-not-ready", help="Although the snapshot is not ready.")] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="A name of your own; the same again is the same run.")
    ] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Train an adapter for a role or a task, and register it. Ctrl-C pauses a run that no daemon keeps."""
    from gtftd.ctl.corpus_names import check_role
    from gtftd.ctl.model_open import actor
    from gtftd.ctl.train_settings import Typed, order_of, with_recipe
    from gtftd.settings import load_settings
    from gtftd.training.base_adding import ensure_base

    configured = load_settings(target.config).training
    typed = Typed(role, task, snapshot, base, objective, settings, changes or (), parent, insist, run)
    if formula is not None:
        typed = with_recipe(typed, _recipe(target, formula, variables or ()))
    elif variables:
        raise typer.BadParameter("it gives a variable of a formula: say which, with --formula", param_hint="--var")
    if typed.role is None and typed.task is None:
        raise typer.BadParameter("say for whom: --role ROLE, or --task TASK", param_hint="--role")
    check_role(target, typed.role)
    order = order_of(typed, configured, actor())
    ensure_base(target.state_dir, order.base or configured.base)
    view, keeper = _ordered(target, order, detach=detach)
    if detach:
        _told(
            view, f"{view.run} is {view.stage}; `{show.program()} train watch {view.run}` follows it", as_json=as_json
        )
        return
    if not as_json:
        show.print_line(f"{view.run}: {view.objective} on {view.base}, snapshot {view.snapshot[:12]}, in {view.folder}")
        sys.stdout.flush()
    _follow(target, view.run, keeper, as_json=as_json)


def list_runs(
    target: Target,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """The newest first."""
    from gtftd.ctl.model_tables import table
    from gtftd.jobs import read_runs

    views = read_runs(target.state_dir, limit)
    if as_json:
        show.print_json([view.model_dump(mode="json") for view in views])
        return
    if not views:
        show.print_line(f"no runs; `{show.program()} train --role ROLE` starts one")
        return
    cells = [
        (view.run, view.role, view.objective, view.stage, _steps(view), _number(view.loss), _number(view.held_out_loss),
         view.model or "-")
        for view in views
    ]  # fmt: skip
    show.print_line(table(("RUN", "ROLE", "OBJECTIVE", "STAGE", "STEP", "LOSS", "HELD-OUT", "MODEL"), cells))


def show_run(target: Target, run: Run, *, as_json: Json = False) -> None:
    """One run, whole: its settings with where they came from, and how it is."""
    from gtftd.ctl.train_watch import audit_of, measured
    from gtftd.jobs import RunFolder, read_run

    view = read_run(target.state_dir, run)
    spec = RunFolder(Path(view.folder)).spec()
    settings = spec.settings.model_dump(mode="json")
    beside = measured(Path(view.folder))
    if as_json:
        show.print_json(view.model_dump(mode="json") | beside | {"settings": settings, "origins": dict(spec.origins)})
        return
    told = view.model_dump(mode="json", exclude_none=True) | beside
    told |= {"audit": audit_of(beside["audit"])} if "audit" in beside else {}
    for name, value in told.items():
        for line in _lines(value):
            show.print_line(f"{name + ':':<18} {show.clean(line)}")
    for name, value in _flat(settings):
        origin = show.clean(spec.origins.get(name, ""))
        show.print_line(f"  {name} = {value}" + (f"   ({origin})" if origin else ""))


def _lines(value: object) -> list[str]:
    """How one value is told; nothing of an empty one."""
    if isinstance(value, dict):
        return [f"{name:<12} {one}" for name, one in value.items()]
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [f"{value:.4f}" if isinstance(value, float) else str(value)] if value != "" else []


def watch(target: Target, run: Run, *, as_json: Json = False) -> None:
    """Follow a run until it ends; with --json a line for each change. Ctrl-C leaves it running."""
    from gtftd.jobs import read_run

    _follow(target, read_run(target.state_dir, run).run, None, as_json=as_json, lines=True)


def pause(target: Target, run: Run, *, as_json: Json = False) -> None:
    """Save and stop, until `resume`. It survives restarts."""
    _wish(target, run, "pause", as_json=as_json)


def stop(target: Target, run: Run, *, as_json: Json = False) -> None:
    """Save and stop, for good; nothing is registered."""
    _wish(target, run, "stop", as_json=as_json)


def resume(target: Target, run: Run, *, detach: Detach = False, as_json: Json = False) -> None:
    """Go on from the last checkpoint. Without a daemon it runs here until its end."""
    from gtftd.ctl.train_alone import is_kept, keep

    view = _wished(target, run, "run")
    if _has_daemon(target) or is_kept(target):
        _told(view, f"{view.run} goes on", as_json=as_json)
        return
    _, keeper = keep(target, view.run, detached=detach)
    if detach:
        _told(view, f"{view.run} goes on", as_json=as_json)
    else:
        _follow(target, view.run, keeper, as_json=as_json)


def _recipe(target: Target, named: str, typed: Sequence[str]) -> Recipe:
    from gtftd.training.formula_vars import find_formula, read_recipe

    town = target.known_town()
    return read_recipe(find_formula(named, town, here=Path.cwd(), home=Path.home()), typed)


def _ordered(target: Target, order: TrainOrder, *, detach: bool) -> tuple[RunView, subprocess.Popen[bytes] | None]:
    """The daemon's run; where none answers ours, with the process that keeps it."""
    from gtftd.ctl.train_alone import keep
    from gtftd.schemas.training_orders import RunView

    try:
        told = target.client(timeout_s=_ORDER_S).call("train.start", **order.model_dump(mode="json"))
    except NoDaemon:
        return keep(target, order, detached=detach)
    return RunView.model_validate(told), None


def _follow(
    target: Target, run: str, keeper: subprocess.Popen[bytes] | None, *, as_json: bool, lines: bool = False
) -> None:
    """Until it ends. Interrupted, a run of ours is paused and waited for; one of a daemon goes on."""
    from gtftd.ctl.live import stopped_by_signals
    from gtftd.ctl.train_watch import end_of, watch

    shown: Literal["line", "json", "nothing"] = "line" if not as_json else "json" if lines else "nothing"
    with stopped_by_signals() as interrupted:
        is_over = (lambda _: interrupted.is_set()) if keeper is None else _Ours(target, run, keeper, interrupted.is_set)
        view = watch(target.state_dir, run, until=is_over, shown=shown)
    if keeper is not None:
        keeper.wait()
    if as_json and not lines:
        show.print_json(view.model_dump(mode="json"))
    elif not as_json:
        verb = "watch" if keeper is None else "resume"
        how = f"`{show.program()} train {verb} {run}` goes on"
        ended = view.stage in ("done", "failed", "stopped")
        show.print_line(end_of(view) if ended else f"{run}: {view.stage}; {how}")
    if interrupted.is_set():
        raise typer.Exit(INTERRUPTED)
    if view.stage != "done" or view.model is None:
        raise typer.Exit(FAILED)


class _Ours:
    """Whether a run of ours is over for us: its keeper has nothing left to do. Ctrl-C pauses it first."""

    def __init__(
        self, target: Target, run: str, keeper: subprocess.Popen[bytes], is_interrupted: Callable[[], bool]
    ) -> None:
        self._target = target
        self._run = run
        self._keeper = keeper
        self._is_interrupted = is_interrupted
        self._is_paused = False

    def __call__(self, _view: RunView) -> bool:
        if self._is_interrupted() and not self._is_paused:
            self._is_paused = True
            sys.stderr.write("interrupted; the run finishes its step and saves\n")
            with contextlib.suppress(Refused):  # it ends in this moment
                _wished(self._target, self._run, "pause")
        return self._keeper.poll() is not None


def _wish(target: Target, run: str, will: Will, *, as_json: bool) -> None:
    """Carried out by whoever supervises; where nobody does, by a process that ends with it."""
    from gtftd.ctl.train_alone import is_kept, keep

    view = _wished(target, run, will)
    if not _has_daemon(target) and not is_kept(target):
        keep(target, view.run, detached=True)
    _told(view, f"{view.run} is told to {will}", as_json=as_json)


def _wished(target: Target, run: str, will: Will) -> RunView:
    from gtftd.ctl.model_open import actor
    from gtftd.jobs import read_run, wish
    from gtftd.schemas.training_orders import RunView

    known = read_run(target.state_dir, run).run
    try:
        return RunView.model_validate(target.client().call(_VERBS[will], run=known, by=actor()))
    except NoDaemon:
        return wish(target.state_dir, known, will, actor())


def _has_daemon(target: Target) -> bool:
    try:
        target.client(timeout_s=5).call("version")
    except NoDaemon:
        return False
    return True


def _told(view: RunView, line: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json(view.model_dump(mode="json"))
    else:
        show.print_line(line)


def _steps(view: RunView) -> str:
    return f"{view.step:,}/{view.steps:,}" if view.steps else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in settings.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return flat


def _without_verb(command: Callable[..., None]) -> Callable[..., None]:
    """`gtftctl train --role deacon`: the group itself, where no command of it is named."""
    signature = inspect.signature(command)

    def root(ctx: typer.Context, **given: Any) -> None:
        if ctx.invoked_subcommand is None:
            if not any(given.values()):
                show.print_line(ctx.get_help())
                raise typer.Exit(2)
            command(**given)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    root.__signature__ = signature.replace(parameters=[context, *signature.parameters.values()])  # type: ignore[attr-defined]
    root.__annotations__ = {"ctx": typer.Context, **command.__annotations__}
    return root


app.callback()(_without_verb(on_target(start)))
app.command("list")(on_target(list_runs))
app.command("show")(on_target(show_run))
for one in (start, watch, pause, resume, stop):
    app.command()(on_target(one))
