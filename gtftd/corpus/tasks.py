"""What kind of work a turn or a span is: by whose it is, what was asked, and above all what was done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from gtftd.corpus.acts import Act, Verb, acts_of, verb_of
from gtftd.corpus.rulebook import Worker
from gtftd.corpus.runners import is_check
from gtftd.corpus.shell import Run
from gtftd.schemas.corpus import Task
from gtftd.town.conversation import RawMessage

TASKS: tuple[Task, ...] = (
    "implementation", "bead-creation", "code-review", "git-workflow", "planning", "patrol", "merge-queue",
    "coordination", "triage", "other",
)  # fmt: skip
_BY_ROLE: Mapping[str, Task] = {
    "refinery": "merge-queue",
    "witness": "patrol",
    "deacon": "patrol",
    "boot": "patrol",
    "dog": "patrol",
}
_BY_BD: Mapping[str, Task] = {
    "create": "bead-creation", "new": "bead-creation", "q": "bead-creation", "create-form": "bead-creation",
    "dep": "bead-creation", "epic": "bead-creation", "graph": "bead-creation",
    "ready": "triage", "list": "triage", "blocked": "triage", "stale": "triage", "search": "triage", "count": "triage",
    "duplicates": "triage", "duplicate": "triage", "label": "triage", "reopen": "triage", "defer": "triage",
    "priority": "triage", "stats": "triage", "supersede": "triage",
}  # fmt: skip
_BY_GT: Mapping[str, Task] = {
    "sling": "coordination", "convoy": "coordination", "nudge": "coordination", "mail": "coordination",
    "escalate": "coordination", "handoff": "coordination", "broadcast": "coordination", "assign": "coordination",
    "mq": "merge-queue", "refinery": "merge-queue", "patrol": "patrol", "peek": "patrol", "polecat": "patrol",
    "session": "patrol", "deacon": "patrol", "witness": "patrol", "dog": "patrol", "doctor": "patrol",
    "orphans": "patrol", "reaper": "patrol", "warrant": "patrol", "status": "patrol", "health": "patrol",
}  # fmt: skip
_GIT_WORK = frozenset({
    "add", "commit", "push", "pull", "rebase", "merge", "checkout", "switch", "branch", "stash", "cherry-pick", "reset",
    "restore", "fetch", "tag", "revert", "worktree", "clean", "am", "rm", "mv",
})  # fmt: skip
_GIT_LOOK = frozenset({"diff", "show", "blame", "log"})
_PLAN_FILE = re.compile(
    r"(?:^|/)(?:[^/]*[-_.])?(?:spec|plan|design|prd|roadmap|rfc|proposal|adr)s?(?:[-_.][^/]*)?\.(?:md|txt)$|"
    r"/(?:plans|specs|designs)/[^/]*\.md$",
    re.IGNORECASE,
)
_REVIEW = re.compile(
    r"\b(?:code[- ]review|review(?:ing)?\b.{0,40}\b(?:pr|pull request|diff|branch|code|change)|pr review|audit)\b|"
    r"^\s*review\b",
    re.IGNORECASE,
)
_PLANNING = re.compile(r"\b(?:plan|planning|design|spec|specification|prd|roadmap|architecture|proposal|rfc)\b", re.I)
_TRIAGE = re.compile(r"\b(?:triage|backlog|groom(?:ing)?|prioriti[sz]e|clean ?up (?:of )?(?:beads|issues))\b", re.I)
_WEIGHTS: Mapping[Task, int] = {
    "implementation": 3,
    "bead-creation": 3,
    "planning": 4,
    "code-review": 2,
    "coordination": 2,
}
_CODE_TYPES = frozenset({"bug", "feature", "chore", "story"})


def task_of(messages: Sequence[RawMessage], worker: Worker, *, issue_type: str | None, title: str) -> Task:
    """The main task of a span. Roles that do one thing only are named by it; the rest by what was done most."""
    if worker.role in _BY_ROLE:
        return _BY_ROLE[worker.role]
    turns = Counter(tasks_by_turn(messages, worker).values())
    has_edits = turns["implementation"] > 0
    heading = title[:400]
    if worker.bead is not None and _REVIEW.search(heading) and not has_edits:
        return "code-review"
    if worker.role == "polecat":
        return _of_polecat(turns, issue_type, heading)
    if _TRIAGE.search(heading) and turns["triage"]:
        return "triage"
    scores = {task: count * _WEIGHTS.get(task, 1) for task, count in turns.items() if task != "other"}
    if not scores:
        return "other"
    return max(sorted(scores, key=TASKS.index), key=lambda task: scores[task])


def tasks_by_turn(messages: Sequence[RawMessage], worker: Worker) -> dict[int, Task]:
    """The task of each assistant message whose calls tell one; the most telling of its calls decides."""
    found: dict[int, list[Task]] = {}
    for act in acts_of(messages):
        for task in _of_act(act, worker):
            found.setdefault(act.message, []).append(task)
    return {place: max(tasks, key=_telling) for place, tasks in found.items()}


def _of_polecat(turns: Counter[Task], issue_type: str | None, heading: str) -> Task:
    if turns["planning"] > turns["implementation"] or (
        _PLANNING.search(heading) and not turns["implementation"] and issue_type not in _CODE_TYPES
    ):
        return "planning"
    if turns["implementation"]:
        return "implementation"
    if turns["bead-creation"] > max(turns["git-workflow"], turns["triage"]):
        return "bead-creation"
    if issue_type in _CODE_TYPES or turns["git-workflow"]:
        return "implementation"
    return "code-review" if _REVIEW.search(heading) else "other" if not turns else turns.most_common(1)[0][0]


def _telling(task: Task) -> int:
    order: tuple[Task, ...] = (
        "other",
        "triage",
        "code-review",
        "git-workflow",
        "coordination",
        "patrol",
        "merge-queue",
        "bead-creation",
    )
    return order.index(task) if task in order else len(order)


def _of_act(act: Act, worker: Worker) -> list[Task]:
    if act.edits:
        return ["planning" if all(_PLAN_FILE.search(path) for path in act.edits) else "implementation"]
    if act.call.name == "ExitPlanMode":
        return ["planning"]
    if act.call.name.startswith("mcp__") and "beads" in act.call.name:
        verb = act.call.name.rpartition("__")[2]
        return ["bead-creation"] if verb in ("create", "create_issue", "dep", "add_dependency") else ["triage"]
    return [task for run in act.runs if (task := _of_run(run, worker)) is not None]


def _of_run(run: Run, worker: Worker) -> Task | None:
    if is_check(run):
        return "merge-queue" if worker.role == "refinery" else "implementation"
    verb = verb_of(run)
    if verb is None:
        return None
    match verb.program:
        case "bd":
            return _of_bd(verb)
        case "gt":
            return _BY_GT.get(verb.head)
        case "gh":
            return "code-review" if verb.head == "pr" and verb.words[1:2] != ("create",) else "git-workflow"
        case _:
            return "git-workflow" if verb.head in _GIT_WORK else "code-review" if verb.head in _GIT_LOOK else None


def _of_bd(verb: Verb) -> Task | None:
    if verb.head == "update":
        sorts = verb.has("-p", "--priority", "--add-label", "--remove-label", "-t", "--type", "--parent", "--defer")
        return "triage" if sorts else None
    if verb.head == "mol":
        return "patrol"
    return _BY_BD.get(verb.head)
