"""Trainings that are asked for by an event: what of it is heeded, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from hashlib import sha256
from typing import Protocol

from gtftd.errors import Invalid, NonRetriable, Refused
from gtftd.logs import get_logger
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import TrainSettings
from gtftd.schemas.training_events import TrainingAccepted, TrainingRefused, TrainingRequested
from gtftd.schemas.training_orders import TASKS, RunView, TrainOrder
from gtftd.town.identity import ROLES
from gtftd.training.settings import Given, configured_for, resolve

log = get_logger("training")
MOST_EPOCHS, MOST_STEPS = 10, 5_000
_MAY_SET = ("objective", "seed", "lora.", "optimizer.", "data.", "preferences.")
"""What bears on what is learned; threads, memory and times are the host's own."""


class Asked(Protocol):
    """What became of an order."""

    @property
    def view(self) -> RunView: ...
    @property
    def is_new(self) -> bool: ...


class Requests:
    """Turns requests into orders. What is asked twice is ordered twice, and is one run."""

    def __init__(self, settings: TrainingSettings, ask: Callable[[TrainOrder], Awaitable[Asked]]) -> None:
        """`ask`: raises what an order raises. The same again, by the run's name or by what it does, is harmless."""
        self._settings = settings
        self._ask = ask

    async def take(self, event: TrainingRequested) -> TrainingAccepted | TrainingRefused:
        """Raises Retriable alone: what waiting cannot help is refused by a fact."""
        name = name_of(event)
        try:
            asked = await self._ask(self._order(event, name))
        except NonRetriable as error:
            log.warning("training.refused", request=name, role=event.role, task=event.task)
            return TrainingRefused(role=event.role, task=event.task, why=str(error), by=event.by)
        view = asked.view
        log.info("training.accepted", request=name, run_id=view.run, is_new=asked.is_new)
        return TrainingAccepted(
            run=view.run, role=view.role, kind=view.kind, snapshot=view.snapshot, is_new=asked.is_new, by=event.by
        )

    def _order(self, event: TrainingRequested, name: str) -> TrainOrder:
        series = event.task or event.role
        if not self._settings.on_request:
            raise Refused("training.on_request is off here: only an operator starts runs, with `gtftctl train`")
        if series is None:
            raise Invalid("it says neither for which role nor for which task")
        _check_names(event)
        return TrainOrder(
            role=series,
            kind="task" if event.task else "role",
            stacked_on=event.role if event.task else None,
            snapshot=event.snapshot,
            base=event.base,
            parent=event.parent,
            insist=event.insist,
            **self._resolved(event, name),
            run=f"{series[:40]}-r{name[:12]}",
            by=event.by or "an event",
            request=name,
        )

    def _resolved(self, event: TrainingRequested, name: str) -> dict[str, object]:
        origin = f"request {name[:12]}"
        given = [Given(key, value, origin) for key, value in _flat(event.settings)]
        for one in given:
            if not one.name.startswith(_MAY_SET):
                raise Refused(f"{one.name} is not a request's to set; {', '.join(_MAY_SET)} are")
        if event.objective is not None:
            given.append(Given("objective", event.objective, origin))
        resolved = resolve([*configured_for(self._settings, (event.task, event.role)), *given])
        _check_limits(resolved.settings)
        return {"settings": resolved.settings, "origins": dict(resolved.origins)}


def name_of(event: TrainingRequested) -> str:
    """The same for the same request; its moment counts, unless the asker named it."""
    told = f"named {event.request}" if event.request else event.model_dump_json()
    return sha256(told.encode()).hexdigest()


def _check_names(event: TrainingRequested) -> None:
    if event.role is not None and event.role not in ROLES:
        raise Invalid(f"there is no role {event.role!r}; there are {', '.join(ROLES)}")
    if event.task is not None and event.task not in TASKS:
        raise Invalid(f"there is no task {event.task!r}; there are {', '.join(TASKS)}")


def _check_limits(settings: TrainSettings) -> None:
    epochs, steps = settings.optimizer.epochs, settings.optimizer.steps
    if epochs > MOST_EPOCHS:
        raise Refused(f"{epochs:g} epochs are more than the {MOST_EPOCHS} that a request may ask for")
    if steps is not None and steps > MOST_STEPS:
        raise Refused(f"{steps} steps are more than the {MOST_STEPS} that a request may ask for")


def _flat(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value
