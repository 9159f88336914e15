"""A state directory with the real hook in it, and a town on disk, for the tests of hooks and spool."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gtftd.town.hook_script import install_script, script_path
from gtftd.town.layout import Town, load_town
from gtftd.town.spool import Spool

ROLE = "gastown/polecats/nux"


def make_town(root: Path) -> Town:
    """A town with the rig gastown, whose beads exist, and the rig beads, whose beads do not."""
    (root / "mayor").mkdir(parents=True)
    (root / "mayor" / "town.json").write_text("{}")
    rigs = {"gastown": {"beads": {"prefix": "gt"}}, "beads": {"beads": {"prefix": "bd"}}}
    (root / "mayor" / "rigs.json").write_text(json.dumps({"rigs": rigs}))
    (root / ".beads").mkdir()
    (root / "gastown" / "mayor" / "rig" / ".beads").mkdir(parents=True)
    return load_town(root)


@dataclass(frozen=True)
class Installed:
    """The hook as an agent would find it; `cwd` is a place without git."""

    state_dir: Path
    town: Town
    cwd: Path

    @property
    def spool(self) -> Spool:
        return Spool(self.state_dir / "spool")

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        role: str | None = ROLE,
        cwd: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [script_path(self.state_dir), *args],
            input=stdin,
            env=hook_env(role, **env),
            cwd=cwd or self.cwd,
            capture_output=True,
            timeout=30,
            check=False,
        )

    def claude(self, stdin: bytes, **env: str) -> subprocess.CompletedProcess[bytes]:
        return self.run("claude", stdin=stdin, env=env)


def install_hook(folder: Path) -> Installed:
    state_dir, cwd = folder / "state", folder / "cwd"
    cwd.mkdir()
    town = make_town(folder / "town")
    install_script(town, state_dir)
    return Installed(state_dir, town, cwd)


def hook_env(role: str | None = ROLE, **more: str) -> dict[str, str]:
    given = {"GT_ROLE": role} if role is not None else {}
    return {"PATH": os.environ["PATH"], **given, **more}


def claude_payload(event: str = "SessionStart", session: str = "5e551011", **more: object) -> bytes:
    """As Claude Code writes it: one line of JSON."""
    said = {"session_id": session, "transcript_path": "/nowhere/x.jsonl", "cwd": "/nowhere"}
    return (json.dumps({**said, "hook_event_name": event, **more}) + "\n").encode()
