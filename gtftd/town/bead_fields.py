"""What gt keeps as `key: value` lines in descriptions: of merge requests, of agents' own beads (gastown.md 5.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gtftd.town.identity import RIG_NAME, parse_role

READ_CHARS = 8192
"""Of a description; gt's own lines stand first or last in short ones."""
_LINE = re.compile(r"^[ \t]*([a-z][a-z_]{1,31}):[ \t]*(\S.{0,299}?)[ \t\r]*$", re.MULTILINE)
_BEAD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
_BRANCH = re.compile(rf"(?:origin/)?polecat/([^/\s@]{{1,64}})/({_BEAD.pattern})(?:@[A-Za-z0-9]+)?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_TRUE = frozenset({"true", "yes", "1"})
ExitType = Literal["COMPLETED", "ESCALATED", "DEFERRED", "PHASE_COMPLETE"]
_EXITS: dict[str, ExitType] = {
    "COMPLETED": "COMPLETED",
    "ESCALATED": "ESCALATED",
    "DEFERRED": "DEFERRED",
    "PHASE_COMPLETE": "PHASE_COMPLETE",
}


@dataclass(frozen=True)
class MergeFields:
    """What a merge request says of itself."""

    bead: str
    actor: str | None
    commit_sha: str | None
    merge_commit: str | None


@dataclass(frozen=True)
class ExitFields:
    """How an agent's last work ended."""

    bead: str
    actor: str
    exit_type: ExitType
    merge_failed: bool
    push_failed: bool
    at: datetime | None


@dataclass(frozen=True)
class WorkBranch:
    """A polecat's branch: who works on what."""

    name: str
    bead: str


def read_fields(description: str) -> dict[str, str]:
    """The lines; of several with one key the last."""
    return dict(_LINE.findall(description[:READ_CHARS]))


def read_branch(branch: str) -> WorkBranch | None:
    """`polecat/<name>/<bead>@<stamp>`; None for any other branch."""
    found = _BRANCH.fullmatch(branch)
    return WorkBranch(found[1], found[2]) if found else None


def find_branch(text: str) -> WorkBranch | None:
    """The first such branch that a text names."""
    found = _BRANCH.search(text)
    return WorkBranch(found[1], found[2]) if found else None


def merge_fields(description: str) -> MergeFields | None:
    """None for what is no merge request: those name their source issue and their branch."""
    fields = read_fields(description)
    bead, branch = fields.get("source_issue", ""), fields.get("branch", "")
    if not branch or not _BEAD.fullmatch(bead):
        return None
    named = read_branch(branch)
    worker = fields.get("worker") or (named.name if named else "")
    commits = {key: value for key in ("commit_sha", "merge_commit") if _COMMIT.fullmatch(value := fields.get(key, ""))}
    actor = _polecat(worker, fields.get("rig", ""))
    return MergeFields(bead, actor, commits.get("commit_sha"), commits.get("merge_commit"))


def exit_fields(description: str) -> ExitFields | None:
    """None unless it says how which work of whom ended."""
    fields = read_fields(description)
    exit_type = _EXITS.get(fields.get("exit_type", "").upper())
    branch = read_branch(fields.get("branch", ""))
    actor = _polecat(branch.name, fields.get("rig", "")) if branch else None
    if exit_type is None or branch is None or actor is None:
        return None
    return ExitFields(
        bead=branch.bead,
        actor=actor,
        exit_type=exit_type,
        merge_failed=fields.get("mr_failed", "").lower() in _TRUE,
        push_failed=fields.get("push_failed", "").lower() in _TRUE,
        at=_moment(fields.get("completion_time", "")),
    )


def _polecat(worker: str, rig: str) -> str | None:
    """The address of a worker that is named in full, or by its name and rig."""
    who = parse_role(worker)
    if who is not None and who.name:
        return who.actor
    name = worker.rsplit("/", 1)[-1]
    return f"{rig}/polecats/{name}" if name and RIG_NAME.fullmatch(rig) else None


def _moment(written: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    return found if found.tzinfo else None
