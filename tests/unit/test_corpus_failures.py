"""The failure classes of the specification, from signals and broken rules."""

from __future__ import annotations

import pytest

from gtftd.corpus.conventions import Violation, violations
from gtftd.corpus.failures import failure_modes
from gtftd.corpus.signals import Signals, TestRun, read_signals
from tests.support.spans import SpanBuilder, worker

RED, GREEN = TestRun(1, False, "go"), TestRun(1, True, "go")
HARD, SOFT = Violation("force-push", 1, "a", "hard"), Violation("self-sling", 1, "a", "soft")


@pytest.mark.parametrize(
    ("signals", "broken", "end_reason", "died", "expected"),
    [
        (Signals(), (), None, False, ()),
        (Signals(), (), "crash: pane exited", True, ()),
        (Signals(timed_out=True), (), None, False, ("timeout",)),
        (Signals(), (), "command timeout", True, ("timeout",)),
        (Signals(), (), "command timeout", False, ()),
        (Signals(timeouts=(1,)), (), None, False, ()),
        (Signals(wrong_branch=(3,)), (), None, False, ("wrong_branch",)),
        (Signals(), (Violation("push-to-main", 1, "a", "hard"),), None, False, ("wrong_branch",)),
        (Signals(), (Violation("commit-on-main", 1, "a", "hard"),), None, False, ("wrong_branch",)),
        (Signals(tests=(GREEN, RED)), (), None, False, ("broke_tests",)),
        (Signals(tests=(RED,), said="COMPLETED"), (), None, False, ("broke_tests",)),
        (Signals(tests=(RED,), pushed=True), (), None, False, ("broke_tests",)),
        (Signals(tests=(RED,)), (), None, False, ()),
        (Signals(tests=(RED,), said="ESCALATED"), (), None, False, ()),
        (Signals(tests=(RED, GREEN), said="COMPLETED"), (), None, False, ()),
        (Signals(), (HARD,), None, False, ("ignored_conventions",)),
        (Signals(), (SOFT, SOFT, SOFT), None, False, ()),
        (
            Signals(),
            tuple(Violation(rule, 1, "a", "soft") for rule in ("self-sling", "sleep-poll", "done-mail")),
            None,
            False,
            ("ignored_conventions",),
        ),
        (Signals(memory_crash=(2,)), (), None, False, ("memory_crash",)),
        (Signals(), (), "oom-killed", True, ("memory_crash",)),
        (Signals(), (), "room closed", False, ()),
        (Signals(hooks_skipped=(2,)), (), None, False, ("skipped_hooks",)),
        (Signals(dependency_direction=(2,)), (), None, False, ("wrong_dependency_direction",)),
        (
            Signals(timed_out=True, hooks_skipped=(1,), tests=(GREEN, RED)),
            (HARD,),
            None,
            False,
            ("timeout", "broke_tests", "ignored_conventions", "skipped_hooks"),
        ),
    ],
)
def test_classes(
    signals: Signals, broken: tuple[Violation, ...], end_reason: str | None, died: bool, expected: tuple[str, ...]
) -> None:
    """Each class by each of its signs, in a fixed order, and not by what only resembles them."""
    assert expected == failure_modes(signals, broken, end_reason=end_reason, died=died)


def test_a_whole_span() -> None:
    """From the messages on: tests broken, hooks skipped, the main branch pushed to."""
    span = SpanBuilder().user("go").bash("go test ./...", "ok  \tx\t0.1s").edit("a.go")
    span.bash("go test ./...", "--- FAIL: TestA\nFAIL", error=True)
    span.bash("git commit --no-verify -m 'fix: x (gt-abc)' && git push origin main", "[x abc1234] fix").bash(
        "gt done", None
    )
    modes = failure_modes(read_signals(span.messages), violations(span.messages, worker()), end_reason=None, died=False)
    assert ("wrong_branch", "broke_tests", "skipped_hooks") == modes
