"""What the `gt` command itself tells: its version, and what it tells an agent at the start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtftd.town.layout import Town

VERSION_TIMEOUT_S = 5.0
PRIME_TIMEOUT_S = 30.0
MAX_BYTES = 2 * 1024 * 1024
_VERSION = re.compile(r"\b(v?\d+\.\d+\.\d+[\w.+-]*)(?:[^(\n]*\(([^)\n]{1,80})\))?")
_PRIVATE = ("GT_", "BD_", "BEADS_", "CLAUDE", "TMUX")


@dataclass(frozen=True)
class Place:
    """A folder of the town in which an agent of this role works."""

    role: str
    rig: str | None
    folder: Path


def find_gt(environ: Mapping[str, str] = os.environ) -> str | None:
    return shutil.which("gt", path=environ.get("PATH"))


async def read_version(town: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """`v1.0.1` or what gt says in its place; None without a gt that answers."""
    told = await _ask(["version"], town, town, environ, VERSION_TIMEOUT_S)
    if told is None:
        return None
    found = _VERSION.search(told)
    return " ".join(part for part in found.groups() if part) if found else told.strip().splitlines()[0][:80]


async def read_prime(place: Place, town: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """What `gt prime` prints in this folder, as a reader of it and not as a hook; None when it does not answer."""
    return await _ask(["prime"], place.folder, town, environ, PRIME_TIMEOUT_S)


def places_of_agents(town: Town) -> Iterator[Place]:
    """One folder for each role, and for each role of each rig, where there is one."""
    deacon = town.root / "deacon"
    found: list[tuple[str, str | None, list[Path]]] = []
    found += [("mayor", None, [town.root / "mayor"]), ("deacon", None, [deacon])]
    found += [("boot", None, [deacon / "dogs" / "boot"])]
    found += [("dog", None, [path for path in _below(deacon / "dogs") if path.name != "boot"])]
    for rig in town.rigs:
        found += [("witness", rig.name, [rig.path / "witness"])]
        found += [("refinery", rig.name, [rig.path / "refinery" / "rig", rig.path / "refinery"])]
        worktrees = [path / rig.name for path in _below(rig.path / "polecats")]
        found += [("polecat", rig.name, [path for path in worktrees if path.is_dir()] or _below(rig.path / "polecats"))]
        found += [("crew", rig.name, _below(rig.path / "crew"))]
    for role, rig_name, folders in found:
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is not None:
            yield Place(role, rig_name, folder)


async def _ask(
    arguments: Sequence[str], folder: Path, town: Path, environ: Mapping[str, str], timeout_s: float
) -> str | None:
    """The whole group is killed when it takes too long. Nobody's session, role or hook is in its environment."""
    program = find_gt(environ)
    if program is None:
        return None
    plain = {name: value for name, value in environ.items() if not name.startswith(_PRIVATE)}
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            cwd=folder,
            env=plain | {"GT_TOWN_ROOT": str(town), "NO_COLOR": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(timeout_s):
            assert process.stdout is not None
            told = await _read_all(process.stdout)
            code = await process.wait()
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return told.decode("utf-8", "replace") if code == 0 and told.strip() else None


async def _read_all(stream: asyncio.StreamReader) -> bytes:
    """Its first MAX_BYTES; the rest is read and forgotten, so that the command can end."""
    told = bytearray()
    while piece := await stream.read(65_536):
        told += piece[: MAX_BYTES - len(told)]
    return bytes(told)


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
