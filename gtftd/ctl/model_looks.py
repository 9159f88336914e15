"""gtftctl model lineage, diff, compare, verify, history: looking closer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.model_names import Model, RoleOption, complete_model
from gtftd.ctl.model_open import registry_of
from gtftd.ctl.model_tables import share, status_of, table
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import GtftdError, Invalid

if TYPE_CHECKING:
    from gtftd.registry.comparison import Flips
    from gtftd.registry.reading import Reading
    from gtftd.schemas.registry import ModelEntry, Score

_MOST = 10


def register(app: typer.Typer) -> None:
    for command in (lineage, diff, compare, verify, history, key):
        app.command()(on_target(command))


def lineage(
    target: Target,
    name: Annotated[
        str, typer.Argument(metavar="MODEL|SNAPSHOT|DIGEST", help="A model, or what models are made of.",
                            autocompletion=complete_model)
    ],
    *,
    as_json: Json = False,
) -> None:  # fmt: skip
    """What a model was made of, and what was made of it; of a snapshot, a base or a job: the models made of it."""
    with reading_of(target) as reading:
        known = {model.name for model in reading.models()}
        if "@" in name:
            name = reading.model(name).name
        sources = reading.sources(name) if name in known else []
        offspring = _offspring(reading, name)
        if name not in known and not offspring:
            raise Invalid(f"nothing that is registered is called {name!r} or was made of it")
    if as_json:
        show.print_json({"name": name, "made_of": dict(sources), "made_from_it": offspring})
        return
    for relation, source in sources:
        show.print_line(f"{relation + ':':<10} {source}")
    for depth, model, relation in offspring:
        show.print_line(f"{'  ' * depth}-> {model} ({relation})")


def diff(
    target: Target,
    a: Annotated[str, typer.Argument(metavar="A", help="The one before.", autocompletion=complete_model)],
    b: Annotated[str, typer.Argument(metavar="B", help="The one after.", autocompletion=complete_model)],
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every item that flipped.")] = False,
    as_json: Json = False,
) -> None:
    """What changed from one model to another: settings, corpus, scores, and which items of the examination flipped."""
    from gtftd.registry.comparison import differing, flips

    with reading_of(target) as reading:
        before, after = reading.model(a), reading.model(b)
        flipped = flips(reading.evaluations(before.name), reading.evaluations(after.name))
    settings = differing([before, after])
    corpus = _corpus_diff(target, before, after)
    if as_json:
        show.print_json({
            "a": before.name, "b": after.name, "settings": settings, "corpus": corpus,
            "scores": {model.name: _scores_json(model) for model in (before, after)},
            "flips": vars(flipped) if flipped else None,
        })  # fmt: skip
        return
    _print_settings([before, after], settings)
    if corpus:
        show.print_line(
            f"corpus: {corpus['added']:,} entries came, {corpus['removed']:,} went, {corpus['changed']:,} changed"
        )
    _print_scores([before, after])
    _print_flips(flipped, None if all_ else _MOST)


def compare(
    target: Target,
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL...", autocompletion=complete_model)] = None,
    *,
    role: RoleOption = None,
    as_json: Json = False,
) -> None:
    """Several bases, ranks and recipes side by side: settings that differ, and scores with their intervals."""
    from gtftd.registry.comparison import differing
    from gtftd.registry.reading import Wanted

    if bool(names) == bool(role):
        raise typer.BadParameter("name the models, or say --role for all of one role")
    with reading_of(target) as reading:
        models = [reading.model(name) for name in names] if names else reading.models(Wanted(series=role))
    if len(models) < 2:
        raise Invalid(f"there is nothing to compare: {len(models)} model{'' if len(models) == 1 else 's'} of {role}")
    settings = differing(models)
    if as_json:
        scores = {model.name: _scores_json(model) for model in models}
        show.print_json({"models": [model.name for model in models], "settings": settings, "scores": scores})
        return
    _print_settings(models, settings)
    _print_scores(models)


def verify(
    target: Target,
    name: Annotated[str | None, typer.Argument(metavar="MODEL", autocompletion=complete_model)] = None,
    *,
    as_json: Json = False,
) -> None:
    """Look at every byte of a model, or of all: signature, sums, headers. Exit code 1 on a problem."""
    registry = registry_of(target)
    with registry.reading() as reading:
        models = [reading.model(name)] if name else reading.models()
    stored = [model for model in models if model.artifact_path is not None]
    problems = {model.name: list(registry.verify(model.artifact)) for model in stored}
    if as_json:
        show.print_json({"checked": len(stored), "pruned": len(models) - len(stored), "problems": problems})
    else:
        for model, found in problems.items():
            for problem in found:
                show.print_line(f"{model}: {show.clean(problem)}")
        pruned = f", {len(models) - len(stored)} pruned" if len(models) > len(stored) else ""
        bad = sum(bool(found) for found in problems.values())
        show.print_line(
            f"{show.count(len(stored), 'model')} checked{pruned}: {f'{bad} altered' if bad else 'all whole'}"
        )
    if any(problems.values()):
        raise typer.Exit(1)


def history(target: Target, name: Model, *, as_json: Json = False) -> None:
    """Every change of a model's status, and every decision of whom it serves: who, when, why."""
    with reading_of(target) as reading:
        model = reading.model(name)
        changes = reading.transitions(model.name)
        decisions = [one for one in reading.deployments(model.role) if model.name in (one.model, one.previous)]
    if as_json:
        show.print_json({
            "transitions": [one.model_dump(mode="json") for one in changes],
            "deployments": [one.model_dump(mode="json") for one in decisions],
        })  # fmt: skip
        return
    rows = [(one.at, f"{one.previous or '-'} -> {one.status}", one.by, one.why) for one in changes]
    rows += [
        (one.at, f"{one.action} {one.model or 'none'} in {one.rig or 'town'}", one.by, one.why) for one in decisions
    ]
    cells = [
        (f"{at:%Y-%m-%d %H:%M:%S}", what, by, why or "-") for at, what, by, why in sorted(rows, key=lambda row: row[0])
    ]
    show.print_line(table(("WHEN (UTC)", "WHAT", "WHO", "WHY"), cells))


def key(target: Target) -> None:
    """The public key with which this state signs what it registers, for `registry.trusted_keys` of others."""
    from gtftd.registry.signing import Keys

    show.print_line(Keys.open(target.state_dir / "keys").own_public)


@contextlib.contextmanager
def reading_of(target: Target) -> Iterator[Reading]:
    """Without a daemon, and without keys or settings."""
    from gtftd.registry.registry import read_registry
    from gtftd.registry.rows import FOLDER

    with read_registry(target.state_dir / "state.db", target.state_dir / FOLDER) as reading:
        yield reading


def _offspring(reading: Reading, name: str) -> list[tuple[int, str, str]]:
    """Depth, model and relation, the way down; a model is told once."""
    found: list[tuple[int, str, str]] = []
    seen = {name}

    def go_down(source: str, depth: int) -> None:
        for model, relation in reading.made_from(source):
            if model not in seen:
                seen.add(model)
                found.append((depth, model, relation))
                go_down(model, depth + 1)

    go_down(name, 1)
    return found


def _corpus_diff(target: Target, before: ModelEntry, after: ModelEntry) -> dict[str, int] | None:
    """None where one of the snapshots is not there any more."""
    if not (before.snapshot and after.snapshot) or before.snapshot == after.snapshot:
        return None
    from gtftd.corpus.snapshot import diff as compare_snapshots

    try:
        found = compare_snapshots(target.state_dir, before.snapshot, after.snapshot)
    except GtftdError:
        return None
    return {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}


def _print_settings(models: list[ModelEntry], settings: dict[str, tuple[object, ...]]) -> None:
    headings = ("SETTING", *(model.name for model in models))
    rows = [
        (name, *("-" if value is None else str(value)[:40] for value in values)) for name, values in settings.items()
    ]
    rows.append(("status", *(status_of(model.model_dump(mode="json")) for model in models)))
    show.print_line(table(headings, rows))


def _print_scores(models: list[ModelEntry]) -> None:
    categories = sorted({category for model in models for category in model.eval_scores_by_category})
    if not categories:
        show.print_line("none of them was examined")
        return
    rows = [
        (category or "whole", *(_told(model.eval_scores_by_category.get(category)) for model in models))
        for category in categories
    ]
    show.print_line(table(("SCORE", *(model.name for model in models)), rows))


def _print_flips(flipped: Flips | None, most: int | None) -> None:
    if flipped is None:
        show.print_line("no examination in common: nothing can be said of single items")
        return
    show.print_line(
        f"{flipped.suite}: {len(flipped.gained)} gained, {len(flipped.lost)} lost, {flipped.same} as before"
    )
    for sign, items in (("+", flipped.gained), ("-", flipped.lost)):
        for item in items[:most]:
            show.print_line(f"  {sign} {show.clean(item)}")
        if most is not None and len(items) > most:
            show.print_line(f"  {sign} ... {len(items) - most} more (--all)")


def _scores_json(model: ModelEntry) -> dict[str, object]:
    return {category: one.model_dump() for category, one in model.eval_scores_by_category.items()}


def _told(score: Score | None) -> str:
    return "-" if score is None else f"{share(score.score)} ({share(score.low)}-{share(score.high)}, n={score.n})"
