"""From what was typed to an order: settings of the configuration, of a file, and of options, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.errors import GtftdError, Missing

if TYPE_CHECKING:
    from gtftd.ctl.target import Target
    from gtftd.schemas.settings import TrainingSettings
    from gtftd.schemas.training_orders import TrainOrder
    from gtftd.training.settings import Given


@dataclass(frozen=True)
class Typed:
    """The options of `gtftctl train`."""

    role: str | None
    task: str | None
    snapshot: str
    base: str | None
    objective: str | None
    settings: Path | None
    changes: Sequence[str]
    parent: str | None
    insist: bool
    run: str | None


def order_of(typed: Typed, configured: TrainingSettings, by: str) -> TrainOrder:
    """Raises Invalid with where each wrong value stands."""
    from gtftd.schemas.training_orders import TrainOrder
    from gtftd.training.settings import Given, from_options, resolve

    given = [Given(name, value, "config") for name in ("threads", "memory_bytes") if (value := _of(configured, name))]
    given += _of_file(typed, configured)
    if typed.objective is not None:
        given.append(Given("objective", typed.objective, "--objective"))
    resolved = resolve([*given, *from_options(typed.changes)])
    series = typed.task or typed.role
    assert series is not None, "the command asks for one of them"
    return TrainOrder(
        role=series,
        kind="task" if typed.task else "role",
        stacked_on=typed.role if typed.task else None,
        snapshot=typed.snapshot,
        base=typed.base,
        parent=typed.parent,
        settings=resolved.settings,
        origins=dict(resolved.origins),
        insist=typed.insist,
        run=typed.run,
        by=by,
    )


def ensure_base(target: Target, name: str) -> None:
    """A base that comes with a package is converted at its first use; of any other the training says what to do."""
    from gtftd.training.base_adding import add_in_child
    from gtftd.training.base_source import find_source
    from gtftd.training.bases import BaseStore

    store = BaseStore(target.state_dir)
    if name in store.names():
        return
    try:
        source = find_source(name, None)
    except GtftdError as error:
        raise Missing(f"there is no base {name!r} here: {error}") from error
    store.add(name, source, add_in_child)


def _of(configured: TrainingSettings, name: str) -> int | None:
    value = getattr(configured, name)
    return int(value) if value is not None else None


def _of_file(typed: Typed, configured: TrainingSettings) -> list[Given]:
    """The named file, else the one of the role in the folder of the configuration."""
    from gtftd.training.settings import from_file

    if typed.settings is not None:
        return from_file(typed.settings)
    for name in (typed.task, typed.role):
        file = configured.settings_dir / f"{name}.yaml" if configured.settings_dir and name else None
        if file is not None and file.is_file():
            return from_file(file)
    return []
