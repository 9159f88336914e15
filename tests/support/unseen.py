"""What a daemon that was down cannot know of a file that changed twice meanwhile, and which entries show that."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.support.town import Daemon, Life, read_entries

NOTICE_S = 5.0
"""A daemon that lives so long, from its start on, has seen what is on the disk."""


@dataclass(frozen=True)
class Rules:
    """What one file said, from when to when."""

    path: str
    rig: str | None
    sha256: str | None
    since: float
    until: float

    def was_there_for(self, life: Life) -> float:
        """For how long of it, in seconds."""
        return min(self.until, life.ended) - max(self.since, life.began)

    def is_of(self, entry: dict[str, object]) -> bool:
        """Whether the work began under these rules."""
        began, rig = entry.get("started_at"), entry.get("rig")
        return isinstance(began, str) and self.rig in (None, rig) and self.since <= _seconds(began) < self.until


def unseen_rules(harmed: Daemon, peaceful: Daemon, written: Sequence[str]) -> dict[str, frozenset[str]]:
    """The entries that may tell of other conventions, each with that one field.

    Only what came and went while the harmed daemon was never up for long enough may be unseen by it; every other
    record is the same on both sides, and the daemon that was left in peace has seen everything.
    """
    ours, theirs = _records(harmed), _records(peaceful)
    assert set(written) <= {rules.sha256 for rules in theirs}
    known = {(rules.path, rules.since, rules.sha256) for rules in ours}
    unseen = [rules for rules in theirs if (rules.path, rules.since, rules.sha256) not in known]
    assert len(ours) == len(theirs) - len(unseen), "what only the harmed daemon has seen"
    for rules in unseen:
        longest = max(rules.was_there_for(life) for life in harmed.lives)
        assert longest < NOTICE_S, f"{rules} was not seen in a life of {longest:.1f} s"
    entries = read_entries(peaceful.state_dir)
    found = {id_ for id_, entry in entries.items() if any(rules.is_of(entry) for rules in unseen)}
    return dict.fromkeys(sorted(found), frozenset({"conventions"}))


def _records(daemon: Daemon) -> list[Rules]:
    rows = daemon.sql("SELECT path, rig, sha256, since FROM conventions ORDER BY path, since")
    found = []
    for (path, rig, sha256, since), (after, *_, until) in itertools.pairwise([*rows, ("", None, None, 0.0)]):
        found.append(Rules(path, rig, sha256, since, until if after == path else math.inf))
    return found


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
