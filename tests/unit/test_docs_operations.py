"""docs/operations.md knows every command and every named condition that the code reports."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from gtftd.ctl.app import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
_LITERAL = re.compile(r'degraded\(\s*(?:f?"[^"]+"|[\w.]+),\s*"([a-z_.]+)"')


def commands() -> list[str]:
    """`status`, `parked list`, ..."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [f"{name} {word}" for word in inner] if inner else [name]
    return found


def test_every_command_is_there() -> None:
    """A row of the table names it."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `gtftctl")]
    for command in commands():
        first, _, second = command.partition(" ")
        matching = [row for row in rows if f"`gtftctl {first}" in row]
        assert any(re.search(rf"\b{second}\b", row) for row in matching), command


def test_every_condition_is_there() -> None:
    """A row of its table says what to do."""
    told = set(re.findall(r"(?m)^\| `([a-z_.]+)` \|", TEXT))
    sources = [path for path in (ROOT / "gtftd").rglob("*.py") if "sampletown" not in path.parts]
    reported = {name for path in sources for name in _LITERAL.findall(path.read_text())}
    assert {"nats.unreachable", "disk.low"} <= reported
    assert reported <= told
