"""From what was typed to an order: settings of configuration, file, formula and options, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtftd.schemas.settings import TrainingSettings
    from gtftd.schemas.training_orders import TrainOrder
    from gtftd.training.formula_vars import Recipe


@dataclass(frozen=True)
class Typed:
    """The options of `gtftctl train`."""

    role: str | None
    task: str | None
    snapshot: str | None
    base: str | None
    objective: str | None
    settings: Path | None
    changes: Sequence[str]
    parent: str | None
    insist: bool
    run: str | None
    recipe: Recipe | None = None


def with_recipe(typed: Typed, recipe: Recipe) -> Typed:
    """What was typed as an option wins over what the formula says."""
    told = recipe.ordered.get
    return replace(
        typed,
        role=typed.role or told("role"),
        task=typed.task or told("task"),
        snapshot=typed.snapshot or told("snapshot"),
        base=typed.base or told("base"),
        parent=typed.parent or told("parent"),
        recipe=recipe,
    )


def order_of(typed: Typed, configured: TrainingSettings, by: str) -> TrainOrder:
    """Raises Invalid with each wrong value and where it stands."""
    from pydantic import ValidationError

    from gtftd.errors import Invalid
    from gtftd.schemas.training_orders import TrainOrder
    from gtftd.training.settings import Given, from_file, from_options, of_config, of_folder, resolve

    given = of_config(configured)
    given += from_file(typed.settings) if typed.settings else of_folder(configured, (typed.task, typed.role))
    given += typed.recipe.given if typed.recipe else ()
    if typed.objective is not None:
        given.append(Given("objective", typed.objective, "--objective"))
    resolved = resolve([*given, *from_options(typed.changes)])
    series = typed.task or typed.role
    assert series is not None, "the command asks for one of them"
    try:
        return TrainOrder(
            role=series,
            kind="task" if typed.task else "role",
            stacked_on=typed.role if typed.task else None,
            snapshot="latest" if typed.snapshot is None else typed.snapshot,
            base=typed.base,
            parent=typed.parent,
            settings=resolved.settings,
            origins=dict(resolved.origins),
            insist=typed.insist,
            run=typed.run,
            by=by,
        )
    except ValidationError as error:
        wrong = [f"{one['loc'][0]} = {str(one['input'])[:80]!r}: {one['msg']}" for one in error.errors()]
        raise Invalid("\n".join(wrong)) from error
