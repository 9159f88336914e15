"""Who an agent is: Gas Town's compound roles, actor addresses and tmux names (gastown.md 1.4 to 1.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

ROLES = ("mayor", "deacon", "boot", "dog", "witness", "refinery", "polecat", "crew")
FOR_ALL = "all"
"""In place of a role: what a document tells everybody."""
_TOWN_ROLES = ("mayor", "deacon")
_RIG_ROLES = ("witness", "refinery")
_NAMED = {"polecats": "polecat", "crew": "crew"}
RIG_NAME = re.compile(r"[^-./\\\s]+")


@dataclass(frozen=True)
class Identity:
    """An agent's place in the town; `actor` is the address that bead assignees use."""

    role: str
    rig: str | None = None
    name: str | None = None

    @property
    def actor(self) -> str:
        if self.role == "boot":
            return "deacon/boot"
        if self.role == "dog":
            return f"deacon/dogs/{self.name}" if self.name else "dog"
        if self.role == "polecat":
            return f"{self.rig}/polecats/{self.name}"
        if self.role == "crew":
            return f"{self.rig}/crew/{self.name}"
        return f"{self.rig}/{self.role}" if self.rig else self.role


def parse_role(value: str) -> Identity | None:
    """Read `GT_ROLE` or an actor address, compound or bare; None for what is not an agent of a town.

    Bead assignees and actors are sometimes written with a trailing slash (`mayor/`).
    """
    parts = [part for part in value.strip().strip("/").split("/") if part]
    match parts:
        case [role] if role in ROLES:
            return Identity(role)
        case ["deacon", "boot"]:
            return Identity("boot")
        case ["deacon", "dogs", "boot"]:
            return Identity("boot")
        case ["deacon", "dogs", name]:
            return Identity("dog", None, name)
        case [rig, role] if role in _RIG_ROLES and RIG_NAME.fullmatch(rig):
            return Identity(role, rig)
        case [rig, kind, name] if kind in _NAMED and RIG_NAME.fullmatch(rig):
            return Identity(_NAMED[kind], rig, name)
        case _:
            return None


def normal_actor(value: str | None) -> str | None:
    """One spelling of an actor: `mayor/` is `mayor`; strangers keep their own name."""
    if not value or not value.strip().strip("/"):
        return None
    identity = parse_role(value)
    return identity.actor if identity else value.strip().strip("/")


def identity_of_path(inside_town: PurePath) -> Identity | None:
    """Who works in this directory, given relative to the town root; None where nobody does."""
    match inside_town.parts:
        case ["mayor", *_]:
            return Identity("mayor")
        case ["deacon", "dogs", "boot", *_]:
            return Identity("boot")
        case ["deacon", "dogs", name, *_]:
            return Identity("dog", None, name)
        case ["deacon", *_]:
            return Identity("deacon")
        case [rig, "polecats", name, *_]:
            return Identity("polecat", rig, name)
        case [rig, "crew", name, *_]:
            return Identity("crew", rig, name)
        case [rig, ("witness" | "refinery") as role, *_]:
            return Identity(role, rig)
        case _:
            return None
