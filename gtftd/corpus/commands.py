"""The commands in a shell line that end the work on a bead; a reader of shell, never a runner of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gtftd.corpus.shell import read_commands, read_runs, sort_arguments

Ending = Literal["close", "done", "handoff", "unhook"]
BEAD_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
VALUED = frozenset({
    "-r", "--reason", "--reason-file", "-m", "--message", "--comment", "--resolution", "--session",
    "--actor", "--db", "-C", "--directory", "--notes", "--note", "--subject", "-s", "--status",
    "--exit", "--cleanup-status", "--branch", "-p", "--priority", "--author", "--rig", "--issue",
    "--title", "-d", "--description", "--design", "--assignee", "-a", "--message-file",
})  # fmt: skip


@dataclass(frozen=True)
class Closing:
    """One command that ends work: on `bead`, or on whatever is on the agent's hook when it is None."""

    bead: str | None
    kind: Ending


def closings(command: str) -> tuple[Closing, ...]:
    """What a shell command line ends, in order. Unbalanced quotes and half commands do no harm."""
    return tuple(
        closing
        for run in read_runs(command)
        if run.name in ("bd", "gt")
        for closing in closings_of(run.name, run.arguments)
    )


def closings_of(program: str, arguments: Sequence[str]) -> Iterator[Closing]:
    """What one run of `bd` or `gt` ends."""
    if not {"--help", "-h", "--dry-run"}.isdisjoint(arguments):
        return
    plain, flags = sort_arguments(arguments, VALUED)
    verb, beads = (plain[0], [word for word in plain[1:] if BEAD_ID.fullmatch(word)]) if plain else ("", [])
    match program, verb:
        case ("bd" | "gt", "close") | ("bd", "done"):
            yield from (Closing(bead, "close") for bead in beads)
        case ("bd", "update") if flags.get("--status", flags.get("-s")) == "closed":
            yield from (Closing(bead, "close") for bead in beads)
        case ("gt", "mq") if plain[1:2] == ["post-merge"]:
            yield from (Closing(bead, "close") for bead in beads[1:])
        case ("gt", "done"):
            yield Closing(flags.get("--issue") or None, "done")
        case ("gt", "handoff"):
            yield Closing(None, "handoff")
        case ("gt", "unsling" | "unhook"):
            yield Closing(beads[0] if beads else None, "unhook")


def split_commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell text as lists of words, quotes removed."""
    return (list(command.words) for command in read_commands(text) if command.words)
