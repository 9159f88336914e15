"""The prime script on disk: `<state>/hooks/gtftd-prime`, what it must know, and the stand-in that keeps mail unread."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.state.files import fsync_folder, write_atomic
from gtftd.town.hook_reports import HookChange, HookStatus
from gtftd.town.hook_script import write_executable

_REPAIR = "run `gtftctl prime install`"


@dataclass(frozen=True)
class Known:
    """What the script is told when it is installed: it reads no configuration."""

    town: Path
    own_agents: Sequence[str]
    config: Path | None = None
    python: str = sys.executable

    @property
    def content(self) -> bytes:
        lines = [f"python={self.python}", f"town={self.town}"]
        lines += [f"config={self.config.absolute()}"] if self.config else []
        lines += [f"agent={pattern}" for pattern in self.own_agents]
        if any("\n" in line for line in lines):
            raise Invalid(
                "a path or a pattern of own_agents has a line break in it, which the prime script cannot read"
            )
        return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def prime_script(state_dir: Path) -> Path:
    return state_dir.absolute() / "hooks" / "gtftd-prime"


def install_prime_script(state_dir: Path, known: Known) -> list[HookChange]:
    """A second call repairs whatever differs; the script last, since it is what is called."""
    changes = []
    for path, (content, mode) in _files(state_dir, known).items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _read(path) == content and path.stat().st_mode & 0o777 == mode:
            changes.append(HookChange(path, "kept"))
            continue
        write_executable(path, content) if mode == 0o755 else write_atomic(path, content)
        changes.append(HookChange(path, "written"))
    return changes


def install_stand_in(state_dir: Path) -> None:
    """That alone: for who begins a session without the script."""
    path = _quiet(prime_script(state_dir))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_executable(path, _source("gtftd-quiet.sh"))


def uninstall_prime_script(state_dir: Path) -> list[HookChange]:
    script = prime_script(state_dir)
    changes = []
    for path in (script, _conf(script), _quiet(script)):
        if path.exists():
            path.unlink()
            fsync_folder(path.parent)
            changes.append(HookChange(path, "removed"))
    for folder in (_quiet(script).parent, script.parent):
        with contextlib.suppress(OSError):  # only an empty one goes
            folder.rmdir()
    return changes


def verify_prime_script(state_dir: Path, known: Known) -> list[HookStatus]:
    """Whether what the script runs and knows is what this gtftd would install."""
    found = []
    for path, (content, mode) in _files(state_dir, known).items():
        problem = ""
        if (there := _read(path)) is None:
            problem = f"is missing, so that agents get the full prime; {_REPAIR}"
        elif there != content:
            problem = f"is not what this gtftd and its configuration would install; {_REPAIR}"
        elif mode == 0o755 and not os.access(path, os.X_OK):
            problem = f"cannot be executed (mode, or a file system mounted noexec); {_REPAIR}"
        found.append(HookStatus(path, "script", not problem, problem))
    return found


def _files(state_dir: Path, known: Known) -> dict[Path, tuple[bytes, int]]:
    script = prime_script(state_dir)
    return {
        _quiet(script): (_source("gtftd-quiet.sh"), 0o755),
        _conf(script): (known.content, 0o600),
        script: (_source("gtftd-prime.sh"), 0o755),
    }


def _source(name: str) -> bytes:
    return resources.files("gtftd.town").joinpath(name).read_bytes()


def _conf(script: Path) -> Path:
    return script.with_name("prime.conf")


def _quiet(script: Path) -> Path:
    return script.parent / "quiet" / "gt"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
