"""The turns nobody shall learn from, and the ones that only look bad."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.conventions import violations
from gtftd.corpus.masks import Mask, masks
from gtftd.corpus.signals import read_signals
from gtftd.corpus.stale import stale_uses
from gtftd.town.conversation import RawCall, RawMessage
from tests.support.spans import SpanBuilder, worker


def of(span: SpanBuilder, role: str = "polecat") -> dict[int, Mask]:
    messages = span.messages
    broken = violations(messages, worker(role))
    return masks(messages, read_signals(messages), broken, stale_uses(messages, {}))


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("cat nowhere", "cat: nowhere: No such file or directory"),
        ("pytset", "Exit code 127\npytset: command not found"),
        ("pytest", "Exit code 127\nbash: pytest: command not found"),
        ("git commit -m 'fix: x (gt-abc)'", "Exit code 1\nnothing to commit"),
        ("bd show gt-zzz", "Error: issue not found"),
        ("make e2e", "Command timed out after 2m 0.0s"),
        ("grep -q x y; false-command", "Exit code 127"),
        ("grep -P '(' x", "Exit code 2\ngrep: unmatched"),
        ("python x.py", "Traceback\nValueError"),
    ],
)
def test_failed_steps(command: str, output: str) -> None:
    """A command that went wrong is a mistake."""
    assert {0: "failed_step"} == of(SpanBuilder().bash(command, output, error=True).say("I see."))


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("go test ./...", "--- FAIL: TestA\nFAIL"),
        ("uv run pytest -x | tail -3", "1 failed, 3 passed in 1s"),
        ("ruff check .", "Found 3 errors."),
        ("npx tsc --noEmit", "error TS2322"),
        ("go build ./... && go vet ./...", "x.go:3: undefined: y"),
        ("make lint", "make: *** [lint] Error 1"),
        ("grep -rn needle src", "Exit code 1"),
        ("rg needle", ""),
        ("cd x && git diff --exit-code", "Exit code 1\ndiff --git"),
        ("which tmux", "Exit code 1"),
        ("diff a b", "Exit code 1\n1c1"),
        ("ls build", "Exit code 2\nls: cannot access 'build'"),
        ("test -f x", "Exit code 1"),
    ],
)
def test_honest_work(command: str, output: str) -> None:
    """A red test, a finding, a search without a hit: the tools did what they are for."""
    assert {} == of(SpanBuilder().bash(command, output, error=True).say("I see."))


def test_edits_that_failed() -> None:
    """Another tool's error is a failed step, also beside a call that worked."""
    span = SpanBuilder().edit("a.go", "String to replace not found in file.", error=True).edit("a.go")
    assert {0: "failed_step"} == of(span)
    both = RawMessage(
        "assistant",
        "",
        (RawCall("a", "Read", {"file_path": "x"}), RawCall("b", "Read", {"file_path": "y"})),
        trainable=True,
    )
    answers = [RawMessage("tool", "x", tool_call_id="a"), RawMessage("tool", "no", tool_call_id="b", is_error=True)]
    messages = [both, *answers]
    assert {0: "failed_step"} == masks(messages, read_signals(messages), (), ())


def test_violations_and_stale_commands() -> None:
    """Hard violations are masked, soft ones are not; a removed command is stale."""
    assert {0: "violation"} == of(SpanBuilder().bash("git push -f"))
    assert {} == of(SpanBuilder().bash("cd ~/gt/gastown && ls"))
    assert {0: "stale"} == of(SpanBuilder().bash("bd sync && git status"))
    assert {0: "violation"} == of(SpanBuilder().bash("bd sync; git reset --hard"))
    assert {} == of(SpanBuilder().bash("git push origin main"), role="crew")


def test_interrupted_and_blocked() -> None:
    """Stopped by a person or a guard: the strongest reason."""
    guard = SpanBuilder().bash("gh pr create", "PreToolUse:Bash hook error: PR WORKFLOW BLOCKED", error=True)
    assert {0: "interrupted"} == of(guard)
    person = SpanBuilder().bash("make", None).user("[Request interrupted by user for tool use]", "meta").bash("ls")
    assert {0: "interrupted"} == of(person)
    later = SpanBuilder().bash("make").user("[Request interrupted by user]", "meta").bash("ls")
    assert {} == of(later)


def test_injected_text() -> None:
    """A turn that repeats the harness's text; a short or reworded mention is the agent's own."""
    line = (
        "You are polecat nux in the rig gastown, and this line of the prime output is longer than eighty characters. "
    )
    prime = "\n".join(f"{line}{number}" for number in range(5))
    assert {1: "injected"} == of(SpanBuilder().user(prime, "hook").say(f"I was told:\n{prime}\nSo I begin."))
    assert {} == of(SpanBuilder().user(prime, "hook").say(f"I was told: {line}0\nSo I begin."))
    assert {} == of(SpanBuilder().user(prime, "turn").say(f"You wrote:\n{prime}"))
    assert {0: "injected"} == of(SpanBuilder().say("<system-reminder>\nfoo\n</system-reminder>"))
    assert {} == of(SpanBuilder().say("The system reminder says to be brief."))


def test_unanswered_calls() -> None:
    """Cut in the middle; but the call that closes the span has lost its answer on purpose."""
    assert {2: "unanswered"} == of(SpanBuilder().bash("ls").bash("make", None))
    assert {} == of(SpanBuilder().bash("ls").bash("git push && gt done", None))
    assert {} == of(SpanBuilder().bash("bd close gt-x", None), role="crew")
    assert {} == of(SpanBuilder().bash("gt handoff -s x", None))
    assert {} == of(SpanBuilder().bash("gt dog done", None), role="dog")
    assert {0: "unanswered"} == of(SpanBuilder().bash("gt done", None).bash("ls"))
    assert {} == of(SpanBuilder().bash("ls").say("and so"))


def test_only_the_agents_own_turns_are_masked() -> None:
    """What is not trained on anyway needs no mask."""
    messages = [
        RawMessage("assistant", "", (RawCall("a", "Bash", {"command": "bd sync"}),), trainable=False),
        RawMessage("tool", "boom", tool_call_id="a", is_error=True),
    ]
    assert {} == masks(messages, read_signals(messages), (), stale_uses(messages, {}))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bd sync", "git push -f", "ls", "pytest", "gt done", "grep x y", "'$(", ""]),
            st.one_of(st.none(), st.text(max_size=40)),
            st.booleans(),
        ),
        max_size=8,
    )
)
@settings(deadline=None)
def test_masks_name_trainable_turns_only(steps: list[tuple[str, str | None, bool]]) -> None:
    """Every masked place is an assistant message of the agent's own; nothing raises."""
    span = SpanBuilder().user("go")
    for command, output, error in steps:
        span.bash(command, output, error=error)
    for place in of(span):
        assert span.messages[place].role == "assistant" and span.messages[place].trainable
