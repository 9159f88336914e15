"""Conventions that one run of `bd` or `gt` can break."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gtftd.corpus.acts import Act, Verb, verb_of
from gtftd.corpus.commands import BEAD_ID, closings_of
from gtftd.corpus.rulebook import Worker
from gtftd.corpus.shell import Run
from gtftd.corpus.shell_rules import Broken

_NO_STATUS = frozenset({"done", "complete", "completed", "finished", "resolved"})
_NO_COMMAND = (("bd", "complete"), ("gt", "issue", "create"), ("gt", "polecat", "spawn"), ("gt", "polecat", "kill"))
_ROLES = frozenset({"witness", "refinery", "mayor", "deacon", "overseer"})
_CYCLE = re.compile(
    r"\b(?:would create|creates|introduces?|forms?) a (?:dependency )?cycle\b|\bcycle detected\b|\bcircular dependenc|"
    r"\bis already a child of\b|\bwould create a deadlock\b|\bcannot depend on (?:itself|its)\b",
    re.IGNORECASE,
)
_DONE = re.compile(r"\b(?:done|complete|completed|finished|completion)\b", re.IGNORECASE)
_TROUBLE = re.compile(r"\b(?:help|blocked|escalat\w*|question|stuck|failed|conflict|not done|can't|cannot)\b", re.I)


def of_verb(verb: Verb, run: Run, worker: Worker) -> Iterator[Broken]:
    """What the command breaks by itself, whatever came before."""
    words = (verb.program, *verb.words)
    if any(words[: len(missing)] == missing for missing in _NO_COMMAND):
        yield "no-such-command", None
    if words[:2] == ("bd", "update") and (verb.value("--status", "-s") or "").lower() in _NO_STATUS:
        yield "invalid-status", None
    if words[:2] == ("gt", "sling"):
        yield "sling-by-polecat", None
        if _slings_to_self(verb):
            yield "self-sling", None
    if words[:3] == ("bd", "mol", "pour") and any("patrol" in word for word in verb.words[2:]):
        yield "pours-patrol", None
    if words[:3] == ("gt", "rig", "stop"):
        yield "stops-rig", None
    if words[:3] == ("gt", "mail", "send"):
        yield from _of_mail(verb)
    elif words[:2] == ("gt", "nudge") and verb.words[1:] and _is_polecat(verb.words[1]):
        yield "messages-polecat", None
    if words[:2] == ("bd", "init") and verb.has("--force", "-f"):
        yield "wipes-beads", None


def closes(run: Run, bead: str | None) -> bool:
    """Whether the command closes this bead itself."""
    return (
        bead is not None
        and run.name in ("bd", "gt")
        and run.arguments[:1] != ("mq",)
        and any(end.kind == "close" and end.bead == bead for end in closings_of(run.name, run.arguments))
    )


def says_no_changes(verb: Verb) -> bool:
    reason = verb.value("--reason", "-r", "--resolution", "--message", "-m") or ""
    return reason.strip().lower().startswith(("no-changes", "no changes", "no_changes"))


def is_mail(verb: Verb) -> bool:
    """A mail to somebody else."""
    return verb.program == "gt" and verb.says("mail", "send") and not verb.has("--self")


def depends(verb: Verb) -> tuple[str, str] | None:
    """The two beads of `bd dep add A B` (A needs B) or `bd dep A --blocks B` (B needs A)."""
    if verb.program != "bd" or verb.head != "dep":
        return None
    beads = [word for word in verb.words[1:] if BEAD_ID.fullmatch(word)]
    if verb.words[1:2] == ("add",) and len(beads) == 2:
        return beads[0], beads[1]
    if verb.words[1:2] == ("add",) and len(beads) == 1 and (on := verb.value("--depends-on", "--blocked-by")):
        return beads[0], on
    if verb.words[1:2] != ("add",) and len(beads) == 1 and (blocked := verb.value("--blocks", "-b")):
        return blocked, beads[0]
    return None


def wrong_directions(acts: Sequence[Act]) -> dict[int, Act]:
    """Dependencies the wrong way round, by message: one that made a cycle, or that was turned around later."""
    found: dict[int, Act] = {}
    added: dict[tuple[str, str], Act] = {}
    for act in acts:
        for verb in map(verb_of, act.runs):
            pair = depends(verb) if verb is not None else None
            if verb is None or pair is None:
                continue
            cycle = act.shows(_CYCLE) and (act.failed or all(bead in act.output for bead in pair))
            if cycle or _child_first(verb, pair):
                found[act.message] = act
            elif first := added.get(pair[::-1]):
                found[first.message] = first
            if not act.failed:
                added.setdefault(pair, act)
    return found


def _child_first(verb: Verb, pair: tuple[str, str]) -> bool:
    """A child that needs its own parent waits for itself; a parent is no child of its child."""
    kind = verb.value("--type", "-t") or "blocks"
    first, second = pair
    if kind == "parent-child":
        return second.startswith(f"{first}.")
    return kind == "blocks" and first.startswith(f"{second}.")


def _slings_to_self(verb: Verb) -> bool:
    return len(verb.words) == 2 and not verb.has("--crew", "--on", "--target", "--to", "--agent")


def _of_mail(verb: Verb) -> Iterator[Broken]:
    yield "mail-by-dog", None
    target = verb.words[2] if len(verb.words) > 2 else ""
    if _is_polecat(target):
        yield "messages-polecat", None
    if target.startswith("deacon/dogs/"):
        yield "mails-dog", None
    subject = verb.value("-s", "--subject") or ""
    if _DONE.search(subject[:400]) and not _TROUBLE.search(subject[:400]) and not verb.has("--self"):
        yield "done-mail", None


def _is_polecat(address: str) -> bool:
    parts = address.strip("/").split("/")
    if len(parts) == 3:
        return parts[1] == "polecats"
    return len(parts) == 2 and parts[0] not in _ROLES and parts[1] not in (*_ROLES, "crew", "polecats")
