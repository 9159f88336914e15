"""What a handler declares, and the checks that every handler passes before the daemon starts."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeVar

from gtftd.errors import Invalid
from gtftd.schemas.catalog import EVENTS
from gtftd.schemas.event import Event

E = TypeVar("E", bound=Event)
MOST_TIMEOUT = timedelta(minutes=5)
Returned = Event | list[Event] | tuple[Event, ...] | None


@dataclass(frozen=True)
class Retry:
    """How often a Retriable error is tried again: delays double from `first` up to `most`, with jitter."""

    attempts: int = 6
    first: timedelta = timedelta(seconds=1)
    most: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Reaction:
    """A handler as the runtime sees it."""

    name: str
    event: type[Event]
    key: Callable[[Any], str]
    retry: Retry
    concurrency: int
    timeout: timedelta
    function: Callable[..., Awaitable[Returned]]
    doc: str
    services: Mapping[str, type]
    """Parameter name to the type of the service that it wants."""


def on(
    event: type[E],
    *,
    key: Callable[[E], str],
    retry: Retry = Retry(),
    concurrency: int = 1,
    timeout: timedelta = timedelta(minutes=1),
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Declare the function a reaction to `event`; `key` names what it must happen once for.

    The function stays an ordinary async function: event first, services after it.
    """

    def declare(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        function.__reaction__ = (event, key, retry, concurrency, timeout)  # type: ignore[attr-defined]
        return function

    return declare


def discover(package: ModuleType) -> list[Reaction]:
    """Every reaction of `package`, checked: one a file, named like it, documented, of known events.

    Raises Invalid with everything that is wrong, so that one start tells all.
    """
    reactions: list[Reaction] = []
    wrong: list[str] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        try:
            reactions.append(_read(module, info.name))
        except Invalid as error:
            wrong.append(str(error))
    if wrong:
        raise Invalid("handlers break their contract: " + "; ".join(wrong))
    return reactions


def bind(reactions: list[Reaction], services: Mapping[type, object]) -> dict[str, dict[str, object]]:
    """The services of each reaction by parameter name. Invalid names every type that nobody provides."""
    missing = [
        f"{reaction.name} wants a {wanted.__name__} as {parameter!r}"
        for reaction in reactions
        for parameter, wanted in reaction.services.items()
        if wanted not in services
    ]
    if missing:
        raise Invalid("no service of that type is provided: " + "; ".join(missing))
    return {
        reaction.name: {parameter: services[wanted] for parameter, wanted in reaction.services.items()}
        for reaction in reactions
    }


def _read(module: ModuleType, name: str) -> Reaction:
    declared = [
        function
        for function in vars(module).values()
        if hasattr(function, "__reaction__") and function.__module__ == module.__name__
    ]
    if len(declared) != 1 or declared[0].__name__ != name:
        found = ", ".join(function.__name__ for function in declared) or "none"
        raise Invalid(f"{name}.py must hold one reaction called {name}, it holds: {found}")
    function = declared[0]
    event: type[Event]
    event, key, retry, concurrency, timeout = function.__reaction__
    if not (module.__doc__ or "").startswith("When "):
        raise Invalid(f'{name}.py: the docstring must begin with "When "')
    if not (function.__doc__ or "").strip():
        raise Invalid(f"{name}: the docstring must say why a second run is harmless")
    if not inspect.iscoroutinefunction(function):
        raise Invalid(f"{name} must be an async function")
    if timeout > MOST_TIMEOUT:
        raise Invalid(f"{name}: a timeout of {timeout} is more than {MOST_TIMEOUT}; longer work is a job")
    if EVENTS.get(event.type_name()) is not event:
        raise Invalid(f"{name}: {event.__name__} is not in the catalog of events")
    if concurrency < 1 or retry.attempts < 1:
        raise Invalid(f"{name}: concurrency and attempts must be at least 1")
    return Reaction(
        name,
        event,
        key,
        retry,
        concurrency,
        timeout,
        function,
        module.__doc__ or "",
        _services(function, name),
    )


def _services(function: Callable[..., Awaitable[Any]], name: str) -> dict[str, type]:
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters)
    if not parameters:
        raise Invalid(f"{name}: the first parameter must be the event")
    wanted = {}
    for parameter in parameters[1:]:
        hint = hints.get(parameter)
        if not isinstance(hint, type):
            raise Invalid(f"{name}: parameter {parameter!r} needs the plain class of a service as its type")
        wanted[parameter] = hint
    return wanted
