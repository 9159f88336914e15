"""What a span shows of its fate: by commands and by what they printed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.signals import Signals, read_signals
from gtftd.town.conversation import RawMessage
from tests.support.spans import SpanBuilder

GREEN = "===== 12 passed, 1 skipped in 0.41s ====="
RED = "===== 1 failed, 11 passed in 0.41s ====="


def of(command: str, output: str | None = "ok", *, error: bool = False) -> Signals:
    return read_signals(SpanBuilder().user("go").bash(command, output, error=error).messages)


@pytest.mark.parametrize(
    ("command", "output", "error", "expected"),
    [
        ("pytest -q", GREEN, False, [("pytest", True)]),
        ("pytest -q", RED, True, [("pytest", False)]),
        ("pytest tests | tail -5", RED, False, [("pytest", False)]),
        (
            "cd x && uv run pytest -x",
            "FAILED tests/test_a.py::test_b - assert 1 == 2\n1 failed",
            True,
            [("pytest", False)],
        ),
        ("python -m pytest", "12 passed in 3s", False, [("pytest", True)]),
        ("python3 -m unittest", "Ran 3 tests in 0.1s\n\nOK", False, [("pytest", True)]),
        ("python -m unittest", "Ran 3 tests in 0.1s\n\nFAILED (failures=1)", True, [("pytest", False)]),
        ("poetry run pytest --co", "12 tests collected", False, []),
        ("pytest", "no tests ran in 0.01s", True, []),
        ("pytest", "bash: pytest: command not found", True, []),
        ("pytest", "PreToolUse:Bash hook error: no", True, []),
        ("pytest", "Command timed out after 2m 0.0s", True, []),
        ("pytest", None, False, []),
        ("pytest --version", "pytest 8", False, []),
        ("go test ./...", "ok  \tx/y\t0.01s", False, [("go", True)]),
        ("go test ./...", "--- FAIL: TestA (0.00s)\nFAIL\tx/y\t0.01s", True, [("go", False)]),
        ("go test ./... 2>&1 | grep -v ok", "FAIL\tx/y [build failed]", False, [("go", False)]),
        ("go test ./...", "?   \tx\t[no test files]", False, [("go", True)]),
        ("go build ./...", "ok", False, []),
        ("cargo test", "test result: ok. 5 passed; 0 failed", False, [("cargo", True)]),
        ("cargo test", "test result: FAILED. 4 passed; 1 failed", True, [("cargo", False)]),
        ("cargo build", "test result: ok. 5 passed", False, []),
        ("npm test", "Tests:       1 failed, 5 passed, 6 total", True, [("js", False)]),
        ("npm test", "Tests:       6 passed, 6 total", False, [("js", True)]),
        ("npx jest", "Test Suites: 1 failed, 1 total\nTests:       1 failed, 1 total", True, [("js", False)]),
        ("pnpm run test:unit", " Test Files  2 passed (2)\n      Tests  9 passed (9)", False, [("js", True)]),
        ("bun test", " 5 pass\n 0 fail", False, [("js", True)]),
        ("bun test", " 5 pass\n 1 fail", True, [("js", False)]),
        ("yarn vitest run", " Tests  1 failed | 5 passed (6)", True, [("js", False)]),
        ("npm run build", "Tests: 1 failed", True, []),
        ("npm install test", "added 1 package", False, []),
        ("make test", "12 passed in 1s", False, [("make", True)]),
        ("make -j4 check", "make: *** [Makefile:3: check] Error 1", True, [("make", False)]),
        ("make", "make: *** [all] Error 1", True, []),
        ("make test", "make: *** No rule to make target 'test'.  Stop.", True, []),
        ("mvn -q test", "Tests run: 5, Failures: 1, Errors: 0\nBUILD FAILURE", True, [("jvm", False)]),
        ("./gradlew :app:test", "BUILD SUCCESSFUL in 3s", False, [("jvm", True)]),
        ("ctest --output-on-failure", "100% tests passed, 0 tests failed out of 4", False, [("ctest", True)]),
        ("ctest", "75% tests passed, 1 tests failed out of 4", True, [("ctest", False)]),
        ("bundle exec rspec", "5 examples, 1 failure", True, [("rspec", False)]),
        ("vendor/bin/phpunit", "OK (5 tests, 9 assertions)", False, [("phpunit", True)]),
        ("dotnet test", "Failed!  - Failed: 1, Passed: 3", True, [("dotnet", False)]),
        ("tox -e py311", "  py311: OK\n  congratulations :)", False, [("tox", True)]),
        ("nox", "nox > Session tests failed.", True, [("tox", False)]),
        ("gt preflight", "all checks passed", False, [("preflight", True)]),
        ("bd preflight --fix", "1 check failed", True, [("preflight", False)]),
        ("./run-tests.sh", "fine", False, [("script", True)]),
        ("echo pytest", GREEN, False, []),
        ("cat test.log", RED, False, []),
        ("git commit -m 'pytest: 12 passed'", GREEN, False, []),
        ("grep -r 'go test' .", "--- FAIL: TestA", False, []),
        ("test -f x", "", True, []),
        ("pytest; echo done", "done", False, []),
        ("pytest || true", "some text", False, []),
        ("pytest && git push", "12 passed in 1s\nTo x", False, [("pytest", True)]),
        ("pytest && git push", "12 passed in 1s\nerror: failed to push", True, [("pytest", True)]),
    ],
)
def test_test_runs(command: str, output: str | None, error: bool, expected: list[tuple[str, bool]]) -> None:
    """The runner's summary counts, then the exit code where it is that of the tests; prose never does."""
    assert expected == [(run.runner, run.passed) for run in of(command, output, error=error).tests]


def test_what_agents_claim_is_no_evidence() -> None:
    """Neither words nor files nor other tools say that tests passed."""
    span = SpanBuilder().say("All 12 tests passed!").call("Read", {"file_path": "pytest.log"}, GREEN)
    span.call("Task", {"prompt": "run pytest"}, GREEN).user("12 passed in 1s")
    assert () == read_signals(span.messages).tests


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["gt done"], "COMPLETED"),
        (["gt done --status ESCALATED"], "ESCALATED"),
        (["gt done --status=DEFERRED"], "DEFERRED"),
        (["gt done --exit ESCALATED"], "ESCALATED"),
        (["gt handoff -s x -m y"], "handoff"),
        (["gt handoff", "gt done"], "COMPLETED"),
        (["gt done --help"], None),
        (["echo gt done"], None),
        (["gt done --status WHATEVER"], None),
        (["bd close gt-abc"], None),
    ],
)
def test_the_last_word_to_gt(commands: list[str], expected: str | None) -> None:
    """The status of the last gt done that did not fail; one without an answer counts: the span ends there."""
    span = SpanBuilder()
    for command in commands[:-1]:
        span.bash(command)
    assert expected == read_signals(span.bash(commands[-1], None).messages).said
    assert read_signals(SpanBuilder().bash("gt done", "refused", error=True).messages).said is None


def test_escalations() -> None:
    """Raising one, not reading the list of them."""
    assert of("gt escalate 'stuck' -s HIGH").escalated and of("cd x; gt escalate -s LOW 'Dolt: slow'").escalated
    assert not any(
        of(command).escalated for command in ("gt escalate list", "gt escalate --help", "echo gt escalate x")
    )


def test_failed_blocked_rejected_interrupted() -> None:
    """By the harness's own answers; a message with one call that worked has not failed."""
    span = SpanBuilder().bash("ls nowhere", "No such file", error=True)  # 0
    span.bash("git push -f", "PreToolUse:Bash hook error: [gt tap guard dangerous-command]: BLOCKED", error=True)  # 2
    span.bash("rm x", "The user doesn't want to proceed with this tool use. The tool use was rejected", error=True)  # 4
    span.bash("make", None).user("[Request interrupted by user for tool use]", "meta")  # 6
    span.bash("ls", "fine").user("[Request interrupted by user]", "meta")  # 8
    span.bash("cat log", "Permission to use Bash has been denied. The user doesn't want to proceed with this")  # 11
    seen = read_signals(span.messages)
    assert frozenset({0, 2, 4}) == seen.failed_calls
    assert (2,) == seen.blocked
    assert (4, 6) == seen.interrupted


def test_nudges_and_corrections() -> None:
    """Other agents and people speaking into the work; the prompt that began it and harness text are not."""
    span = SpanBuilder().user("[from mayor] begin").bash("ls")  # 0, 1, 2
    span.user("<system-reminder>\nQUEUED NUDGE (1 message(s)):\n\n  [from gastown/witness] hurry\n", "meta").bash("ls")
    span.user("[from gastown/witness] are you stuck?").bash("ls")
    span.user("no, don't touch that file").bash("ls")
    span.user("thanks, now the other bead").bash("ls")
    span.user("<system-reminder>\nToday is Monday\n", "meta").user("Notice: x", "hook").bash("ls")
    span.user("[Request interrupted by user]", "meta")
    assert (3, 6, 9) == read_signals(span.messages).nudged


@pytest.mark.parametrize(
    "command",
    [
        "git commit --no-verify -m x", "git commit -n -m x", "git commit -anm x", "git push --no-verify",
        "HUSKY=0 git commit -m x", "SKIP=mypy git commit -m x", "git -c core.hooksPath=/dev/null commit -m x",
        "git config core.hooksPath /dev/null", "BD_NO_HOOKS=1 bd close gt-a", "export HUSKY=0 && git commit -m x",
    ],
)  # fmt: skip
def test_skipped_hooks(command: str) -> None:
    """Every usual way round a hook."""
    assert (1,) == of(command).hooks_skipped


@pytest.mark.parametrize(
    "command",
    [
        "git commit -m '--no-verify'", "git log -n 3", "git push -n", "echo git commit --no-verify", "SKIP=1 make test",
        "git clean -n", "git commit -m x -- -n", "git config core.hooksPath .githooks", "HUSKY=1 git commit -m x",
        "git commit --help -n",
    ],
)  # fmt: skip
def test_not_skipped_hooks(command: str) -> None:
    """What only looks like it."""
    assert () == of(command).hooks_skipped


@pytest.mark.parametrize(
    ("command", "output", "error", "expected"),
    [
        (
            "npm run build",
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            True,
            True,
        ),
        ("python train.py", "Exit code 137", True, True),
        ("python train.py", "Traceback\nMemoryError: Unable to allocate", True, True),
        ("./big", "/bin/bash: line 1: 1234 Killed                  ./big", True, True),
        ("go test ./...", "signal: killed\nFAIL", True, True),
        ("make", "Killed", True, True),
        ("cat log", "JavaScript heap out of memory", False, False),
        ("grep -r MemoryError .", "MemoryError: x", True, False),
        ("python x.py", "handled: MemoryError", False, False),
        ("python x.py", "Exit code 1\nAssertionError", True, False),
        ("dmesg | grep -i kill", "Out of memory: Killed process 12", False, False),
    ],
)
def test_memory_crashes(command: str, output: str, error: bool, expected: bool) -> None:
    """A command died for want of memory; a log or a source that speaks of it did not."""
    assert expected is bool(of(command, output, error=error).memory_crash)


def test_timeouts_at_the_end() -> None:
    """Two in a row that nothing follows; one, or two with progress after them, are everyday."""
    late = ("make e2e", "Command timed out after 2m 0.0s")

    def ends(*steps: tuple[str, str]) -> bool:
        span = SpanBuilder()
        for command, output in steps:
            span.bash(command, output, error=output != "ok")
        return read_signals(span.messages).timed_out

    assert ends(late, late) and ends(("ls", "ok"), late, late, late)
    assert not ends(late) and not ends(late, late, ("ls", "ok")) and not ends(late, ("ls", "ok"), late)
    assert (0, 2) == read_signals(SpanBuilder().bash(*late, error=True).bash(*late, error=True).messages).timeouts


def test_wrong_branch() -> None:
    """Gt done refused, or the main branch written by one who hands in by gt done; others may write it."""
    refused = SpanBuilder().bash("gt done", "Error: cannot submit main/master branch to merge queue", error=True)
    assert (0,) == read_signals(refused.messages).wrong_branch
    wrote = SpanBuilder().bash("git commit -m x", "[main abc1234] x").bash("git push origin main").bash("gt done", None)
    assert (0, 2) == read_signals(wrote.messages).wrong_branch
    moved = SpanBuilder().bash("git checkout main").bash("git commit -m x", "done").bash("gt done", None)
    assert (2,) == read_signals(moved.messages).wrong_branch
    assert () == read_signals(wrote.messages[:4]).wrong_branch
    fine = SpanBuilder().bash("git commit -m x", "[polecat/nux/gt-a abc1234] x").bash("gt done", None)
    assert () == read_signals(fine.messages).wrong_branch


def test_dependency_directions() -> None:
    """A cycle, a child on its parent, one turned around later: the turn that made the wrong one."""
    cycle = SpanBuilder().bash("bd dep add gt-a gt-b", "Error: would create a cycle", error=True)
    assert (0,) == read_signals(cycle.messages).dependency_direction
    warned = "⚠ Warning: Dependency cycle detected!\nCycle path:\n  gt-a → gt-b → gt-a"
    assert (1,) == of("bd dep add gt-a gt-b", warned).dependency_direction
    assert () == of("bd dep add gt-x gt-y", warned).dependency_direction
    turned = SpanBuilder().bash("bd dep add gt-a gt-b").bash("bd dep remove gt-a gt-b").bash("bd dep add gt-b gt-a")
    assert (0,) == read_signals(turned.messages).dependency_direction
    assert (1,) == of("bd dep add gt-a.1 gt-a").dependency_direction
    assert () == of("bd dep add gt-b gt-a; bd dep add gt-c gt-b").dependency_direction


def test_commits_and_pushes() -> None:
    """Shas from git's own answer to commands that make commits; a push that was refused is none."""
    span = (
        SpanBuilder().bash("git commit -m x", "[polecat/nux/gt-a abc1234] x\n 1 file").bash("git log", "[a 1234567] x")
    )
    span.bash("git add . && git commit -m y", "[main (root-commit) 00ff00ff] y").bash("cat x", "[main 7654321] z")
    assert ("abc1234", "00ff00ff") == read_signals(span.messages).commits
    assert of("git push", "To x\n a..b  HEAD -> y").pushed
    assert not of("git push", " ! [rejected] main -> main\nerror: failed to push", error=True).pushed
    assert not of("git push | tail -3", "error: failed to push some refs").pushed
    assert not of("git push", None).pushed and not of("echo git push").pushed


def test_emergency_stops() -> None:
    """Gt's own words in prompts and answers, not talk of stopping."""
    assert read_signals([RawMessage("user", "[from overseer] E-stop cleared. Work may resume.")]).estopped
    assert of("gt status", "⛔  E-STOP ACTIVE (manual, 3m0s ago: x)").estopped
    assert not of("ls", "estop.go").estopped and not read_signals([RawMessage("user", "stop it")]).estopped


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pytest", "git commit -m x", "gt done", "bd dep add gt-a gt-b", "git push", "ls", "'"]),
            st.text(alphabet="1 failedpasok\tFAIL[main abc1234] x\n=Killed:Exitcode137", max_size=120),
            st.booleans(),
        ),
        max_size=8,
    )
)
@settings(deadline=None)
def test_places_are_places_of_assistant_messages(steps: list[tuple[str, str, bool]]) -> None:
    """Whatever was printed, every index names a message of the right role, in order."""
    span = SpanBuilder().user("go")
    for command, output, error in steps:
        span.bash(command, output, error=error)
    seen = read_signals(span.messages)
    for places in (
        seen.blocked,
        seen.interrupted,
        seen.hooks_skipped,
        seen.memory_crash,
        seen.timeouts,
        seen.wrong_branch,
    ):
        assert list(places) == sorted(set(places))
        assert all(span.messages[place].role == "assistant" for place in places)
    assert all(span.messages[run.message].role == "assistant" for run in seen.tests)
