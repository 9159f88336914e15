"""Hooks that write down what they were told, and small readers of a played town."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from gtftd.sampletown.database import folder_of, open_database

_CLAUDE = """#!/bin/sh
{ cat; printf '\\t%s\\t%s\\t%s\\t%s\\n' "$GT_ROLE" "$GT_RIG" "$GT_SESSION" "$GT_WORK_BEAD"; } >> "$1"
"""
_BEAD = """#!/bin/sh
{ printf '%s %s ' "$1" "$2"; cat; echo; } >> LOG
"""
_CLOSE = """#!/bin/sh
calls=$(grep -rlF "bd close $1 " PROJECTS | wc -l)
results=$(grep -rlF "✓ Closed $1" PROJECTS | wc -l)
{ printf '%s %s ' "$1" "$2"; cat; echo; } >> LOG
echo "$1 $calls $results" >> LOG.closes
"""


def install_hooks(town: Path, into: Path) -> tuple[Path, Path]:
    """Record every Claude hook and every bead hook; the two files that they write to.

    Beside the second one, `.closes` says for each close in how many transcripts its call and its result stood.
    """
    claude, beads = into / "claude.log", into / "beads.log"
    script = into / "claude.sh"
    script.write_text(_CLAUDE)
    entry = {"matcher": "", "hooks": [{"type": "command", "command": f"/bin/sh {script} {claude}"}]}
    settings = town / ".claude-config/settings.json"
    loaded = json.loads(settings.read_text())
    loaded["hooks"] |= {event: [entry] for event in ("SessionStart", "Stop", "SessionEnd")}
    settings.write_text(json.dumps(loaded))
    for home in (town, town / "harbor/mayor/rig", town / "lantern/mayor/rig"):
        for change in ("create", "update", "close"):
            hook = home / f".beads/hooks/on_{change}"
            script_text = _CLOSE if change == "close" else _BEAD
            projects = str(town / ".claude-config/projects")
            hook.write_text(script_text.replace("LOG", str(beads)).replace("PROJECTS", projects))
            hook.chmod(0o755)
    return claude, beads


def rows(town: Path, database: str, sql: str) -> list[sqlite3.Row]:
    connection = open_database(folder_of(town), database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
