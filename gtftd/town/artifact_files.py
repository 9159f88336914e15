"""The files of a town, or of any folder, that are documents: conventions, formulas, plans, specs and docs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from gtftd.town.identity import ROLES
from gtftd.town.layout import Town
from gtftd.town.watched import is_text, places, present

ArtifactKind = Literal[
    "claude_md", "agents_md", "context_md", "role", "directive", "overlay", "formula", "plugin", "prime_md", "template",
    "spec", "plan", "doc",
]  # fmt: skip
INSTRUCTIONS: frozenset[str] = frozenset({"claude_md", "agents_md", "context_md", "role", "directive"})
"""What tells agents how to behave."""
FORMULAS: frozenset[str] = frozenset({"formula", "overlay"})
MAX_FILES = 5000
"""More files than this of one folder are not looked at."""
_DEEP = 12
_NAMED: dict[str, ArtifactKind] = {
    "CLAUDE.md": "claude_md",
    "AGENTS.md": "agents_md",
    "CONTEXT.md": "context_md",
    "PRIME.md": "prime_md",
    "plugin.md": "plugin",
}
_SKIPPED = frozenset({
    "node_modules", "vendor", "polecats", "crew", "__pycache__", "testdata", "dist", "build", "target", "site-packages",
})  # fmt: skip
_SPEC_NAMES = ("spec", "requirements")


@dataclass(frozen=True)
class ArtifactFile:
    """One document on disk; `path` is relative to the town, or to the folder that was asked for."""

    file: Path
    path: str
    kind: ArtifactKind
    rig: str | None

    @property
    def role(self) -> str | None:
        """Whose file it is; None: everybody's."""
        name = PurePath(self.path).name.split(".", 1)[0]
        return name if self.kind in {"role", "directive", "template"} and name in ROLES else None


def town_files(town: Town) -> Iterator[ArtifactFile]:
    """Everything in the town that is a document, each file once. Worktrees of workers are not looked into."""
    seen: set[str] = set()
    for found in _all_of(town):
        if found.path not in seen and is_text(found.path):
            seen.add(found.path)
            yield found


def convention_files(town: Town) -> Iterator[ArtifactFile]:
    """Instructions, overlays and formulas of the town and of its rigs."""
    for path, watched in sorted(present(town, places(town)).items()):
        if watched.kind not in {"settings", "town"} and not path.endswith(".installed.json"):
            yield ArtifactFile(town.root / path, path, watched.kind, watched.rig)  # type: ignore[arg-type]


def folder_files(folder: Path, rig: str | None = None) -> Iterator[ArtifactFile]:
    """The documents anywhere below `folder`."""
    for path in _walk(folder):
        relative = path.relative_to(folder).as_posix()
        kind = kind_of(relative)
        if kind is not None and is_text(relative):
            yield ArtifactFile(path, relative, kind, rig)


def town_file(town: Town, path: str) -> ArtifactFile | None:
    """The document that a path in the town names; it need not exist. None for what is no document."""
    kind = kind_of(path)
    return None if kind is None else ArtifactFile(town.root / path, path, kind, rig_of_path(town, path))


def rig_of_path(town: Town, path: str) -> str | None:
    """The rig that a path, relative to the town, lies in."""
    real = os.path.normpath(town.root / path)
    return next((rig.name for rig in town.rigs if PurePath(real).is_relative_to(rig.path)), None)


def kind_of(path: str) -> ArtifactKind | None:
    """What a file is by its place and its name; None: no document."""
    pure = PurePath(path)
    name, above = pure.name, pure.parts[:-1]
    if name in _NAMED:
        return _NAMED[name]
    if name.endswith("-CLAUDE.md"):
        return "claude_md"
    if name.endswith((".formula.toml", ".formula.json")):
        return "formula"
    if name.endswith(".toml"):
        return "role" if "roles" in above else "overlay" if "formula-overlays" in above else None
    if name.endswith(".md.tmpl"):
        return "template"
    return _kind_of_text(pure) if name.endswith(".md") else None


def _kind_of_text(pure: PurePath) -> ArtifactKind:
    above = pure.parts[:-1]
    if "directives" in above:
        return "directive"
    if "templates" in above and "townroot" in above and pure.name == "claude.md":
        return "claude_md"
    if "templates" in above:
        return "template"
    if pure.stem.startswith(_SPEC_NAMES) or any(part.endswith("-spec") for part in above):
        return "spec"
    if "plans" in above or pure.stem.startswith("plan"):
        return "plan"
    return "doc"


def _all_of(town: Town) -> Iterator[ArtifactFile]:
    yield from convention_files(town)
    yield from _of(town, town.root, town.root, town.beads_dir, None)
    for rig in town.rigs:
        yield from _of(town, rig.path, rig.path, rig.beads_dir, rig.name)
        yield from _of(town, rig.path, rig.path / "mayor" / "rig", rig.beads_dir, rig.name)


def _of(town: Town, home: Path, clone: Path, beads_dir: Path, rig: str | None) -> Iterator[ArtifactFile]:
    found = [beads_dir / "PRIME.md", *sorted((home / "plugins").glob("*/plugin.md"))]
    for folder in ("docs", "plans", "specs"):
        found += _walk(clone / folder)
    found += [clone / name for name in ("spec.md", "plan.md")]
    for file in found:
        path = os.path.relpath(file, town.root)
        kind = kind_of(path)
        if kind is not None and file.is_file():
            yield ArtifactFile(file, path, kind, rig)


def _walk(folder: Path) -> list[Path]:
    """Files in order, without hidden folders but `.beads`; links are not followed."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        deep = len(PurePath(here).parts) - len(folder.parts)
        folders[:] = [] if deep >= _DEEP else sorted(name for name in folders if _is_open(name))
        found += [Path(here, name) for name in sorted(names) if name.endswith((".md", ".toml", ".json", ".tmpl"))]
        if len(found) >= MAX_FILES:
            break
    return found[:MAX_FILES]


def _is_open(name: str) -> bool:
    return name not in _SKIPPED and (not name.startswith(".") or name == ".beads")
