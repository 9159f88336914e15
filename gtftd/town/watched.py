"""Which files of a town tell its agents how to behave, and what kind each is (gastown.md 1.2, 1.3, 9.2)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gtftd.town.layout import Town

Kind = Literal["claude_md", "agents_md", "context_md", "settings", "role", "directive", "overlay", "town", "formula"]
MAX_FILE_BYTES = 4 * 1024 * 1024
"""A larger file is no instruction: it is summed, never parsed."""
_INSTRUCTIONS: dict[str, Kind] = {
    "CLAUDE.md": "claude_md",
    "AGENTS.md": "agents_md",
    "CONTEXT.md": "context_md",
}
_TOWN: dict[str, Kind] = dict.fromkeys(("town.json", "rigs.json", "accounts.json", "daemon.json"), "town")


_RUN = re.compile(r"[A-Za-z0-9]{20,}")


@dataclass(frozen=True)
class Place:
    """A folder in which names of these kinds matter: those in `named`, and those that end in a `suffix`."""

    folder: Path
    rig: str | None
    named: tuple[tuple[str, Kind], ...] = ()
    suffixes: tuple[tuple[str, Kind], ...] = ()

    def kind(self, name: str) -> Kind | None:
        for known, kind in self.named:
            if name == known:
                return kind
        if name.startswith("."):
            return None  # what editors and writers put aside
        return next((kind for suffix, kind in self.suffixes if name.endswith(suffix)), None)


@dataclass(frozen=True)
class Watched:
    """One file that matters; `path` is relative to the town's root."""

    path: str
    kind: Kind
    rig: str | None

    @property
    def formula(self) -> str:
        """The file's stem without `.formula`."""
        return os.path.basename(self.path).removesuffix(".toml").removesuffix(".json").removesuffix(".formula")  # noqa: PTH119


def places(town: Town) -> list[Place]:
    """Every folder that matters. Never what lies below: worktrees of polecats are whole repositories."""
    found = [*_common(town.root, None, town.beads_dir)]
    found.append(Place(town.root / "mayor", None, named=tuple(_TOWN.items())))
    for rig in town.rigs:
        found += _common(rig.path, rig.name, rig.beads_dir)
        found.append(Place(rig.path / "mayor" / "rig", rig.name, named=tuple(_INSTRUCTIONS.items())))
    return found


def _common(folder: Path, rig: str | None, beads_dir: Path) -> Iterator[Place]:
    yield Place(folder, rig, named=tuple(_INSTRUCTIONS.items()))
    yield Place(folder / "settings", rig, suffixes=((".json", "settings"),))
    yield Place(folder / "roles", rig, suffixes=((".toml", "role"),))
    yield Place(folder / "directives", rig, suffixes=((".md", "directive"),))
    yield Place(folder / "formula-overlays", rig, suffixes=((".toml", "overlay"),))
    yield Place(
        beads_dir / "formulas",
        rig,
        named=((".installed.json", "formula"),),
        suffixes=((".formula.toml", "formula"), (".formula.json", "formula")),
    )


def present(town: Town, where: Iterable[Place]) -> dict[str, Watched]:
    """The files that are there now, by their path; a folder that can't be listed has none."""
    found: dict[str, Watched] = {}
    for place in where:
        try:
            names = os.listdir(place.folder)  # noqa: PTH208  # names are all we need
        except OSError:
            continue
        for name in names:
            kind = place.kind(name)
            if kind is not None and is_text(name) and not may_be_a_key(name):
                path = os.path.relpath(place.folder / name, town.root)
                found.setdefault(path, Watched(path, kind, place.rig))
    return found


def folders_to_watch(town: Town, where: Iterable[Place]) -> set[Path]:
    """The folders themselves, and for one that is missing its nearest parent, to see it appear."""
    found = set()
    for place in where:
        folder = place.folder
        while not folder.is_dir() and folder not in (town.root, folder.parent):
            folder = folder.parent
        found.add(folder)
    return found


def in_place_since(file: Path) -> float | None:
    """Since when a file is as it is, in Unix seconds; a missing one: when its folder last changed. None: nobody knows.

    By the time of the inode: what is moved or copied there with its old times gets that one too, so that what came
    later is never dated before what it took the place of.
    """
    for place in (file, file.parent):
        with contextlib.suppress(OSError):
            return place.stat().st_ctime
    return None


def is_text(name: str) -> bool:
    """Whether a name from the disk is UTF-8; others cannot be told in a fact."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def may_be_a_key(name: str) -> bool:
    """Whether a file's name could be a credential: a fact names its file in clear, so such a file is in none."""
    return any(sum(map(str.isdigit, run)) >= 3 and not run.isdigit() for run in _RUN.findall(name))


def may_matter(name: str) -> bool:
    """Whether a change of this name may be one of a watched file or folder; the town's root changes all day."""
    return name.endswith((".md", ".json", ".toml")) or "." not in name


def is_sound(name: str, content: bytes) -> bool:
    """Whether a file can be whole: JSON and TOML must parse, text must not be empty."""
    try:
        if name.endswith(".json"):
            json.loads(content)
        elif name.endswith(".toml"):
            tomllib.loads(content.decode())
        else:
            return bool(content.strip())
    except (ValueError, RecursionError):
        return False
    return bool(content.strip())
