"""What Gas Town's own words mean in plain ones: who asks may know the matter and not the name for it.

The words are those of Gas Town's glossary and role templates. A chunk that uses some of them carries their meanings
where it is embedded, so that `worker` finds what is said of polecats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST = 6
"""Meanings that one chunk carries."""
MEANINGS: Mapping[str, str] = {
    "polecat": "worker agent",
    "witness": "monitor that watches over workers",
    "refinery": "merge queue processor",
    "mayor": "coordinator, chief of staff",
    "deacon": "background watchdog",
    "dog": "maintenance helper",
    "crew": "long-lived worker of a human",
    "overseer": "the human, the user",
    "bead": "issue, ticket, task record",
    "wisp": "temporary task record",
    "molecule": "running workflow",
    "formula": "workflow template",
    "convoy": "batch of related tasks",
    "rig": "project repository",
    "town": "headquarters, the whole workspace",
    "hook": "queue with the assigned work",
    "sling": "assign work to an agent",
    "nudge": "immediate message, poke",
    "mail": "lasting message, letter",
    "handoff": "restart the session and pass the work on",
    "seance": "ask an earlier session",
    "patrol": "repeated health check",
    "escalate": "raise an alarm to a human",
    "escalation": "alarm raised to a human",
    "dolt": "SQL database with versions",
    "worktree": "checkout, working copy",
    "swarm": "many workers in parallel",
    "gupp": "work that is assigned must be run at once",
    "landing": "merge into the main branch",
    "estop": "emergency stop",
    "prime": "instructions at the start of a session",
}
_WORD = re.compile(r"[a-z]+")


def meanings_in(text: str) -> list[str]:
    """`word: meaning` for the words of Gas Town in a text, the most frequent first."""
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        known = word if word in MEANINGS else word.removesuffix("s")
        if known in MEANINGS:
            counts[known] = counts.get(known, 0) + 1
    best = sorted(counts, key=lambda word: (-counts[word], word))[:MOST]
    return [f"{word}: {MEANINGS[word]}" for word in best]
