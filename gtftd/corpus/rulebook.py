"""The conventions of a town that can be checked in tool calls: who they bind, how hard, and where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["hard", "soft"]
EVERYBODY = frozenset({"mayor", "deacon", "boot", "dog", "witness", "refinery", "polecat", "crew"})
AUTONOMOUS = frozenset({"polecat", "witness", "refinery", "deacon", "boot", "dog"})
PATROLS = frozenset({"witness", "refinery", "deacon"})


@dataclass(frozen=True)
class Worker:
    """Whose span it is: the agent, its place in the town, and the bead that it was given."""

    role: str
    rig: str | None = None
    actor: str | None = None
    bead: str | None = None
    cwd: str | None = None
    pr_workflow: bool = False
    """The rig's repository takes changes by pull request."""
    town_root: str | None = None


@dataclass(frozen=True)
class Rule:
    """One convention. `number` is its row in gastown.md 8.2; `source` is where Gas Town says it."""

    id: str
    number: int
    roles: frozenset[str]
    severity: Severity
    sentence: str
    source: str

    def binds(self, worker: Worker) -> bool:
        return worker.role in self.roles


def _rule(id_: str, number: int, roles: frozenset[str] | str, severity: Severity, sentence: str, source: str) -> Rule:
    named = frozenset(roles.split()) if isinstance(roles, str) else roles
    return Rule(id_, number, named, severity, sentence, source)


_GUARD = "cmd/tap_guard_dangerous.go:55-254"
_RULES = (
    _rule("ended-without-done", 1, "polecat", "soft", "A polecat ends with gt done.", "polecat:9-11,46"),
    _rule("asks-and-waits", 2, "polecat", "soft", "A polecat asks nobody for approval.", "polecat:41-44,82-97"),
    _rule("push-to-main", 3, "polecat crew", "hard", "Only the refinery writes the main branch.", "polecat:28"),
    _rule("commit-on-main", 3, "polecat", "hard", "Polecats commit on their branch.", "polecat:28; done.go:425"),
    _rule("commit-on-others-branch", 5, "polecat", "hard", "Polecats commit on their branch.", "polecat:62-67"),
    _rule("bd-close-own-root", 4, "polecat", "hard", "The refinery closes a polecat's bead.", "polecat:53-60,388,498"),
    _rule("edit-outside-worktree", 5, "polecat", "hard", "A polecat edits its own worktree only.", "polecat:62-67"),
    _rule("cd-outside-worktree", 5, "polecat", "soft", "A polecat stays in its own worktree.", "polecat:62-67"),
    _rule("sling-by-polecat", 6, "polecat", "hard", "A polecat hands out no work.", "cmd/sling.go:211-223"),
    _rule("discards-work", 8, "polecat", "hard", "Work is committed, not thrown away.", "mol-polecat-work:276"),
    _rule("commit-message-form", 9, "polecat", "soft", "Commits say `type: text (bead)`.", "mol-polecat-work:238"),
    _rule("second-mail", 12, "polecat", "soft", "One mail a session; nudge otherwise.", "polecat:467-475"),
    _rule("done-mail", 12, "polecat", "soft", "gt done tells everybody: no mail about it.", "polecat:467-475"),
    _rule("internal-task-list", 14, "polecat", "soft", "The formula is the checklist.", "polecat:328"),
    _rule("dodges-commit-gate", 15, "polecat", "hard", "Changed files need a commit.", "polecat:347; done.go:490"),
    _rule("creates-pr", 16, "polecat crew", "hard", "No pull requests in own rigs.", "cmd/tap_guard.go:39-101"),
    _rule("makes-branch", 16, "polecat crew", "soft", "Work stays on its branch.", "cmd/tap_guard.go:39-101"),
    _rule("sudo", 17, EVERYBODY, "hard", "No agent becomes root.", _GUARD),
    _rule("system-packages", 17, EVERYBODY, "hard", "No agent installs into the system.", _GUARD),
    _rule("force-push", 17, EVERYBODY, "hard", "No forced push but --force-with-lease.", _GUARD),
    _rule("reset-hard", 17, EVERYBODY, "hard", "No git reset --hard.", _GUARD),
    _rule("clean-force", 17, EVERYBODY, "hard", "No git clean -f.", _GUARD),
    _rule("rm-rf-root", 17, EVERYBODY, "hard", "No recursive removal of what is not the agent's.", _GUARD),
    _rule("drops-database", 17, EVERYBODY, "hard", "No table or database is dropped or truncated.", _GUARD),
    _rule("wipes-beads", 17, EVERYBODY, "hard", "bd init --force destroys all beads.", "hooks/config.go:813"),
    _rule("dependency-direction", 18, EVERYBODY, "soft", "bd dep add A B says that A needs B.", "polecat:181-185"),
    _rule("invalid-status", 19, EVERYBODY, "hard", "There is no status done: bd close.", "polecat:301,499,502"),
    _rule("no-such-command", 19, EVERYBODY, "hard", "bd complete and the like do not exist.", "polecat:499"),
    _rule("tmux-send-keys", 20, EVERYBODY, "hard", "Agents are reached by gt nudge.", "mayor:202; polecat:500"),
    _rule("restarts-dolt", 21, EVERYBODY, "hard", "Trouble with Dolt is escalated.", "polecat:316; witness:151"),
    _rule("touches-dolt-data", 22, EVERYBODY, "hard", "Dolt's own files are left alone.", "townroot/claude.md"),
    _rule("memory-file", 23, EVERYBODY, "soft", "Memories go to gt remember.", "townroot/claude.md; mayor:270"),
    _rule("assumes-identity", 25, EVERYBODY, "soft", "An agent's role is given, not taken.", "townroot/claude.md"),
    _rule("refinery-writes-code", 26, "refinery", "hard", "The refinery writes no code.", "refinery:46-51,93"),
    _rule("branch-grep-queue", 27, "refinery", "soft", "gt mq list is the queue.", "refinery:204,360"),
    _rule("merge-on-red", 28, "refinery", "hard", "A red test is fixed or filed first.", "refinery:229"),
    _rule("raw-integration-land", 29, "refinery", "hard", "gt mq integration land lands them.", "refinery:52,246"),
    _rule("merge-without-rebase", 30, "refinery", "soft", "Each branch is rebased after a merge.", "refinery:277-294"),
    _rule("messages-polecat", 31, "refinery", "hard", "The refinery tells the witness, not polecats.", "refinery:53"),
    _rule("sleep-poll", 31, "refinery deacon", "soft", "Wait by gt mol step await-signal.", "refinery:275; deacon:207"),
    _rule("witness-writes-code", 32, "witness", "hard", "The witness oversees; it writes no code.", "witness:60,69"),
    _rule("mails-health-check", 32, "witness", "soft", "A health check is not answered by mail.", "witness:303"),
    _rule("mails-dog", 33, "deacon", "soft", "The deacon sends no mail to dogs.", "deacon:272"),
    _rule("mail-by-dog", 34, "dog", "hard", "A dog sends no mail.", "dog:111-116"),
    _rule("ended-without-dog-done", 34, "dog", "soft", "A dog ends with gt dog done.", "dog:60,76"),
    _rule("github-review", 35, "crew", "hard", "The overseer speaks on GitHub.", "crew:81"),
    _rule("self-sling", 35, "crew", "soft", "gt sling names its target rig.", "crew:102"),
    _rule("waits-to-push", 35, "crew", "soft", "Crew push; they do not offer to.", "crew:432-444"),
    _rule("pours-patrol", 36, PATROLS, "hard", "Patrols are wisps.", "internal/hooks/config.go:207-351"),
    _rule("mayor-codes", 37, "mayor", "soft", "Workspaces are their agents'.", "mayor:40-69,108-109"),
    _rule("stops-rig", 37, "mayor", "soft", "A rig is parked or docked.", "mayor:307-315"),
    _rule("announces-and-waits", 38, AUTONOMOUS, "soft", "Work on the hook is begun at once.", "Startup Protocol"),
)  # fmt: skip
RULES: Mapping[str, Rule] = {rule.id: rule for rule in _RULES}
