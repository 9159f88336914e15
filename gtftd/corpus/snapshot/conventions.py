"""Which turns today's conventions have left behind, from the names of the commands that they ran."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gtftd.corpus.acts import runs_of
from gtftd.corpus.stale import REMOVED, names_of
from gtftd.schemas.corpus import Message
from gtftd.town.conversation import RawCall

_TOWN = re.compile(r"(?<![A-Za-z_])(?:bd|gt)(?!\w)")


def town_commands(messages: Sequence[Message]) -> dict[str, tuple[int, ...]]:
    """The `bd` and `gt` commands that the agent ran, by name, each with the turns that did."""
    found: dict[str, list[int]] = {}
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        for call in message.tool_calls:
            if _may_run_any(call.arguments):
                for run in runs_of(RawCall(call.id, call.name, call.arguments)):
                    for name in names_of(run):
                        found.setdefault(name, []).append(index)
    return {name: tuple(dict.fromkeys(turns)) for name, turns in sorted(found.items())}


def stale_turns(commands: Mapping[str, Sequence[int]], retired: Collection[str]) -> tuple[int, ...]:
    """The turns that ran a removed command, or one that instructions no longer name."""
    turns = {turn for name, where in commands.items() if is_stale(name, retired) for turn in where}
    return tuple(sorted(turns))


def is_stale(name: str, retired: Collection[str]) -> bool:
    return name in REMOVED or " ".join(name.split()[:2]) in REMOVED or name in retired


def retired_for(retired: Mapping[str, Mapping[str, datetime]], rig: str | None) -> frozenset[str]:
    """What is retired everywhere and in this rig."""
    return frozenset(retired.get("", ())) | frozenset(retired.get(rig or "", ()))


def conventions_digest(retired: Mapping[str, Mapping[str, datetime]], rigs: Collection[str]) -> str:
    """Over every command that counts as left behind in these rigs."""
    told = {rig: sorted(retired_for(retired, rig)) for rig in ["", *sorted(rigs)]}
    return hashlib.sha256(json.dumps([sorted(REMOVED), told]).encode()).hexdigest()


def _may_run_any(arguments: Mapping[str, object]) -> bool:
    """Most calls have nothing to do with the town: reading shell takes its time."""
    command = arguments.get("command", arguments.get("cmd"))
    text = " ".join(map(str, command)) if isinstance(command, (list, tuple)) else command
    if not isinstance(text, str) or not ("bd" in text or "gt" in text):
        return False
    return "\\" in text or _TOWN.search(text) is not None  # an escape may end right before the name
