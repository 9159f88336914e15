"""What kind of work a turn and a span are."""

from __future__ import annotations

import pytest

from gtftd.corpus.tasks import TASKS, task_of, tasks_by_turn
from tests.support.spans import SpanBuilder, worker


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("bd create --title x --type bug", "bead-creation"),
        ("bd dep add gt-b gt-a", "bead-creation"),
        ("bd list --status open", "triage"),
        ("bd update gt-a -p 1", "triage"),
        ("bd update gt-a --status in_progress", None),
        ("bd show gt-a", None),
        ("gt sling gt-a gastown", "coordination"),
        ("gt nudge mayor/ x", "coordination"),
        ("gt mq list", "merge-queue"),
        ("gt peek gastown/nux", "patrol"),
        ("git rebase main", "git-workflow"),
        ("git add -A && git commit -m x && git push", "git-workflow"),
        ("git diff main...HEAD", "code-review"),
        ("gh pr diff 3", "code-review"),
        ("pytest -q", "implementation"),
        ("go build ./...", "implementation"),
        ("ls -la", None),
        ("echo bd create", None),
        ("git status", None),
        ("bd create --help", None),
        ("pytest -q && git commit -am x", "implementation"),
    ],
)
def test_tasks_of_turns(command: str, expected: str | None) -> None:
    """By what the commands do; looking around tells nothing."""
    found = tasks_by_turn(SpanBuilder().bash(command).messages, worker("crew"))
    assert ({0: expected} if expected else {}) == found


def test_tasks_of_edits() -> None:
    """Source files are implementation, specs and plans are planning."""
    span = SpanBuilder().edit("src/a.go").edit("docs/spec.md").edit("docs/plans/next.md").edit("README.md")
    assert ["implementation", "planning", "planning", "implementation"] == [
        *tasks_by_turn(span.messages, worker()).values()
    ]
    assert {0: "planning"} == tasks_by_turn(SpanBuilder().call("ExitPlanMode", {"plan": "x"}).messages, worker())
    made = SpanBuilder().call("mcp__beads__create", {"title": "x"})
    assert {0: "bead-creation"} == tasks_by_turn(made.messages, worker())


@pytest.mark.parametrize(
    ("role", "commands", "edits", "issue_type", "title", "expected"),
    [
        ("refinery", ["git rebase main"], 0, None, "", "merge-queue"),
        ("witness", ["gt polecat list"], 0, None, "", "patrol"),
        ("deacon", ["ls"], 0, None, "", "patrol"),
        ("boot", [], 0, None, "", "patrol"),
        ("dog", ["ls"], 3, None, "", "patrol"),
        ("polecat", ["pytest", "git commit -m x"], 1, "bug", "Fix nil", "implementation"),
        (
            "polecat",
            ["git diff main", "git show x", "bd update gt-abc --notes x"],
            0,
            "task",
            "Review PR #12",
            "code-review",
        ),
        ("polecat", ["ls"], 0, "bug", "Fix nil", "implementation"),
        ("polecat", ["bd create a", "bd create b"], 0, "task", "Split the epic", "bead-creation"),
        ("polecat", ["ls"], 0, "task", "Plan the migration", "planning"),
        ("polecat", ["ls"], 0, "task", "Hm", "other"),
        ("polecat", ["pytest"], 2, "task", "Review page is broken: fix", "implementation"),
        ("mayor", ["bd create a", "bd create b", "gt sling gt-a gastown"], 0, None, "", "bead-creation"),
        ("mayor", ["gt sling gt-a x", "gt convoy create y", "gt nudge z hi"], 0, None, "", "coordination"),
        ("mayor", ["bd list", "bd ready", "bd update gt-a -p 0"], 0, None, "", "triage"),
        ("crew", ["git checkout main", "git merge x", "git push"], 0, None, "", "git-workflow"),
        ("crew", ["pytest", "git commit -m x"], 2, None, "", "implementation"),
        ("crew", [], 0, None, "", "other"),
    ],
)
def test_tasks_of_spans(
    role: str, commands: list[str], edits: int, issue_type: str | None, title: str, expected: str
) -> None:
    """The role decides where it has one task only; else what was done, then what was asked."""
    span = SpanBuilder().user("go")
    for command in commands:
        span.bash(command)
    for number in range(edits):
        span.edit(f"src/{number}.go")
    assert expected == task_of(span.messages, worker(role), issue_type=issue_type, title=title)
    assert expected in TASKS


def test_every_answer_is_a_task_of_the_list() -> None:
    """Whatever is thrown at it."""
    for role in ("polecat", "crew", "mayor", "nobody"):
        for title in ("", "review", "plan", "triage the backlog", "\0" * 10_000):
            span = SpanBuilder().bash("bd list; '$(").call("", {}).edit("x")
            assert task_of(span.messages, worker(role), issue_type="x", title=title) in TASKS
            assert set(tasks_by_turn(span.messages, worker(role)).values()) <= set(TASKS)
