"""Walks over hooks in the shape of Claude Code and of gt: event, groups with a matcher, commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gtftd.errors import Invalid
from gtftd.town.json_file import JsonObject, JsonValue


@dataclass(frozen=True)
class Command:
    """One command in its place; `hook` is the object in the file, and may be changed."""

    event: str
    matcher: str
    hook: JsonObject

    @property
    def text(self) -> str:
        return str(self.hook["command"])

    def set(self, text: str) -> bool:
        """Tells whether that changed anything."""
        changed = text != self.text
        self.hook["command"] = text
        return changed


def commands(hooks: JsonValue) -> Iterator[Command]:
    """Every command; raises Invalid where the shape is not kept, so that nothing is half changed by a guess."""
    for event, groups in _object(hooks, "hooks").items():
        for group in groups_of(groups, event):
            for hook in _list(group.get("hooks", []), f"hooks of {event}"):
                if isinstance(hook, dict) and isinstance(hook.get("command"), str):
                    yield Command(event, matcher_of(group), hook)


def groups_of(groups: JsonValue, event: str) -> list[JsonObject]:
    return [_object(group, f"a group of {event}") for group in _list(groups, event)]


def matcher_of(group: JsonObject) -> str:
    matcher = group.get("matcher", "")
    return matcher if isinstance(matcher, str) else ""


def _object(value: JsonValue, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise Invalid(f"{name} is a JSON {type(value).__name__}, not an object; repair it by hand")
    return value


def _list(value: JsonValue, name: str) -> list[JsonValue]:
    if not isinstance(value, list):
        raise Invalid(f"{name} is a JSON {type(value).__name__}, not a list; repair it by hand")
    return value
