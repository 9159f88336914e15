"""Tests seen to pass or fail: known by the command that ran them and by the runner's own words, never by prose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gtftd.corpus.acts import Act
from gtftd.corpus.shell import Run


@dataclass(frozen=True)
class TestRun:
    """One run of a test suite, by the assistant message that started it."""

    __test__ = False  # no test of ours, whatever pytest makes of the name

    message: int
    passed: bool
    runner: str


_PACKAGE_RUNNERS = frozenset({"npx", "bunx", "pnpx", "uvx", "pipx"})
_RUN_WITH = frozenset({"uv", "poetry", "pdm", "hatch", "rye", "pipenv", "bundle", "rtk", "mise", "direnv", "conda"})
_PYTHONS = re.compile(r"python(?:\d(?:\.\d+)?)?")
_TEST_TARGET = re.compile(
    r"(?:unit|integration|e2e|all|quick|run|ci)?[-_:]?(?:test|tests|check|checks|spec)(?:[-_:].*)?"
)
_TEST_SCRIPT = re.compile(r"(?:run[-_]?)?(?:unit[-_]?|integration[-_]?|e2e[-_]?)?tests?(?:\.sh|\.py|\.js)?")
_DIRECT = frozenset({
    "pytest", "py.test", "jest", "vitest", "mocha", "tox", "nox", "rspec", "phpunit", "ctest", "ava",
})  # fmt: skip
_BY_NAME = {
    "pytest": "pytest", "py.test": "pytest", "gotestsum": "go", "jest": "js", "vitest": "js", "mocha": "js",
    "ava": "js",     "tox": "tox", "nox": "tox", "rspec": "rspec", "phpunit": "phpunit", "ctest": "ctest",
}  # fmt: skip
_BY_FIRST_WORD: Mapping[str, tuple[str, frozenset[str]]] = {
    "cargo": ("cargo", frozenset({"test", "nextest", "t"})), "dotnet": ("dotnet", frozenset({"test"})),
    "go": ("go", frozenset({"test"})), "bd": ("preflight", frozenset({"preflight"})),
    "gt": ("preflight", frozenset({"preflight"})), "mix": ("make", frozenset({"test"})),
}  # fmt: skip
_MAKERS = frozenset({
    "make", "gmake", "just", "task", "ninja", "rake", "meson", "bazel", "bazelisk", "swift", "deno",
})  # fmt: skip
_SCRIPTED = frozenset({"npm", "pnpm", "yarn", "bun"})
_MAVEN_GOALS = frozenset({"test", "verify", "install", "package"})
_CHECKERS = frozenset({
    "ruff", "mypy", "pyright", "flake8", "pylint", "black", "eslint", "tsc", "prettier", "golangci-lint", "staticcheck",
    "gofmt", "shellcheck", "markdownlint", "bandit", "gcc", "g++", "clang", "cc", "javac", "rustc", "actionlint",
    "pre-commit", "semgrep", "govulncheck", "hadolint", "yamllint", "biome", "gcloud-lint",
})  # fmt: skip
_CHECK_TARGET = re.compile(r"(?:lint|build|vet|check|typecheck|type-check|fmt|format|compile|ci|verify)(?:[-_:].*)?")

_FAILED: Mapping[str, re.Pattern[str]] = {
    "pytest": re.compile(
        r"^={0,120}[ \t]{0,9}(?:[^\n]{0,200}, )?[1-9]\d* (?:failed|errors?)\b|"
        r"^(?:FAILED|ERROR) \S{1,300}?(?:\.py|::)|"
        r"^FAILED \((?:failures|errors)=",
        re.MULTILINE,
    ),
    "go": re.compile(r"^(?:--- FAIL: |FAIL\b|panic: )", re.MULTILINE),
    "cargo": re.compile(r"^test result: FAILED|^error(?:\[E\d+\])?: ", re.MULTILINE),
    "js": re.compile(
        r"^[ \t]{0,40}(?:Tests|Test Files|Test Suites):?[ \t]{1,20}(?:[^\n]{0,80}[ \t|,])?[1-9]\d* failed|"
        r"^[ \t]{0,40}[1-9]\d* (?:failing|fail)$|^(?:# |\u2139 )fail [1-9]|"
        r"^ok \| \d+ passed[^\n]{0,40} \| [1-9]\d* failed|^FAILED \| ",
        re.MULTILINE,
    ),
    "jvm": re.compile(r"BUILD FAILURE|^BUILD FAILED|Tests run: \d+, Failures: (?:[1-9]|\d+, Errors: [1-9])", re.M),
    "ctest": re.compile(r"tests passed, [1-9]\d* tests failed out of|^The following tests FAILED:", re.MULTILINE),
    "rspec": re.compile(r"^\d+ examples?, [1-9]\d* failures?", re.MULTILINE),
    "phpunit": re.compile(r"^(?:FAILURES|ERRORS)!$", re.MULTILINE),
    "dotnet": re.compile(r"^[ \t]{0,40}Failed![ \t]", re.MULTILINE),
    "tox": re.compile(
        r"^[ \t]{0,40}(?:ERROR:[ \t]{1,9})?\S{1,60}: (?:commands failed|FAIL\b)|^nox > Session \S{1,80} failed",
        re.MULTILINE,
    ),
    "make": re.compile(r"^(?:g?make)(?:\[\d+\])?: \*\*\* |^error: Recipe `[^\n`]{1,80}` failed", re.MULTILINE),
}  # fmt: skip
_PASSED: Mapping[str, re.Pattern[str]] = {
    "pytest": re.compile(
        r"^={0,120}[ \t]{0,9}(?:[^\n]{0,200}, )?[1-9]\d* passed\b|^OK(?: \([^\n]{0,80}\))?$", re.MULTILINE
    ),
    "go": re.compile(r"^(?:ok[ \t]+\S+[ \t]|PASS$)", re.MULTILINE),
    "cargo": re.compile(r"^test result: ok\. [1-9]", re.MULTILINE),
    "js": re.compile(
        r"^[ \t]{0,40}Tests:?[ \t]{1,20}(?:[^\n]{0,80}[ \t|,])?[1-9]\d* passed|"
        r"^[ \t]{0,40}[1-9]\d* (?:passing\b|pass$)|"
        r"^(?:# |\u2139 )pass [1-9]|^ok \| [1-9]\d* passed",
        re.MULTILINE,
    ),
    "jvm": re.compile(r"BUILD SUCCESS", re.MULTILINE),
    "ctest": re.compile(r"^100% tests passed", re.MULTILINE),
    "rspec": re.compile(r"^[1-9]\d* examples?, 0 failures", re.MULTILINE),
    "phpunit": re.compile(r"^OK \(\d+ tests?", re.MULTILINE),
    "dotnet": re.compile(r"^[ \t]{0,40}Passed![ \t]", re.MULTILINE),
    "tox": re.compile(r"^[ \t]{0,40}congratulations :\)|^nox > Session \S{1,80} was successful", re.MULTILINE),
    "make": re.compile(r"(?!)"),
}  # fmt: skip
_NOT_RUN = re.compile(
    r"command not found|: not found$|No such file or directory|unrecognized arguments|no tests ran|"
    r"Command running in background|No module named|Missing script|collected 0 items$|unknown command|"
    r"No rule to make target|no required module provides|Permission denied",
    re.MULTILINE | re.IGNORECASE,
)


def runner_of(run: Run) -> str | None:
    """The family of test runner that a program is here; None for everything that runs no tests."""
    name, arguments = run.name, run.arguments
    if not {"--help", "-h", "--version", "--collect-only", "--co", "--listTests", "--dry-run"}.isdisjoint(arguments):
        return None
    plain = [word for word in arguments if not word.startswith("-")]
    if name in _PACKAGE_RUNNERS or name in _RUN_WITH:
        return _runner_inside(name, arguments)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name in _BY_FIRST_WORD:
        runner, words = _BY_FIRST_WORD[name]
        return runner if plain and plain[0] in words else None
    if _PYTHONS.fullmatch(name):
        return _runner_of_python(arguments)
    if name in _SCRIPTED:
        return _runner_of_scripts(plain)
    if name in _MAKERS:
        return "make" if any(_TEST_TARGET.fullmatch(word) for word in plain) else None
    return _rarer_runner(run, plain)


def _rarer_runner(run: Run, plain: list[str]) -> str | None:
    match run.name:
        case "node":
            return "js" if "--test" in run.arguments else None
        case "mvn" | "mvnw":
            return "jvm" if not _MAVEN_GOALS.isdisjoint(plain) else None
        case "gradle" | "gradlew":
            return "jvm" if any(_TEST_TARGET.fullmatch(word.rpartition(":")[2]) for word in plain) else None
        case name:
            return "script" if _TEST_SCRIPT.fullmatch(name) and name not in ("test", "tests") else None


def test_runs(acts: Sequence[Act]) -> tuple[TestRun, ...]:
    """Each run of a test suite whose end was seen, in order."""
    found = []
    for act in acts:
        runner = next((name for run in act.runs if (name := runner_of(run))), None)
        if runner is not None and (passed := _verdict(act, runner)) is not None:
            found.append(TestRun(act.message, passed, runner))
    return tuple(found)


def is_check(run: Run) -> bool:
    """A linter, type checker or compiler: that it finds something is no mistake of whoever ran it."""
    plain = [word for word in run.arguments if not word.startswith("-")]
    first = plain[0] if plain else ""
    if run.name in _CHECKERS or runner_of(run) is not None:
        return True
    if run.name in _RUN_WITH or run.name in _PACKAGE_RUNNERS:
        return not _CHECKERS.isdisjoint(plain[:3])
    match run.name:
        case "go" | "cargo":
            return first in ("build", "vet", "check", "clippy", "fmt")
        case "npm" | "pnpm" | "yarn" | "bun" | "make" | "gmake" | "just" | "task" | "gradle" | "gradlew" | "mvn":
            return not plain or any(_CHECK_TARGET.fullmatch(word) for word in plain[:4])
        case "dotnet" | "swift":
            return first == "build"
        case _ if _PYTHONS.fullmatch(run.name):
            return run.arguments[:1] == ("-m",) and len(run.arguments) > 1 and run.arguments[1] in _CHECKERS
        case _:
            return False


def _verdict(act: Act, runner: str) -> bool | None:
    """The runner's summary counts for more than the exit code: `pytest | tail` exits with tail's."""
    if act.answer is None or act.blocked or act.rejected or act.timed_out:
        return None
    output = act.output
    families = [runner] if runner in _FAILED and runner != "make" else list(_FAILED)
    failed = {family for family in families if _FAILED[family].search(output)}
    passed = any(_PASSED[family].search(output) for family in families)
    if failed - {"make"} and (act.failed or not passed or runner in ("pytest", "go", "cargo", "js")):
        return False
    if _NOT_RUN.search(output) and not passed:
        return None
    if act.failed or failed:
        return passed and not _ends_with_tests(act)
    return True if passed or _exit_is_honest(act) else None


def _exit_is_honest(act: Act) -> bool:
    """The exit code that came back is that of the tests."""
    runs = act.runs
    place = next(place for place, run in enumerate(runs) if runner_of(run))
    after = runs[place + 1 :]
    return not runs[place].feeds_pipe and all(run.joint == "&&" for run in after) and bool(act.output.strip())


def _ends_with_tests(act: Act) -> bool:
    return runner_of(act.runs[-1]) is not None


def _runner_inside(name: str, arguments: tuple[str, ...]) -> str | None:
    """`uv run --with x pytest`, `npx jest`: the first plain word that is a runner."""
    for place, word in enumerate(arguments[:12]):
        if word.startswith("-") or (name in _RUN_WITH and word in ("run", "exec")):
            continue
        bare = word.rpartition("/")[2]
        if bare in _DIRECT or _PYTHONS.fullmatch(bare) or bare in ("go", "cargo", "npm", "make"):
            return runner_of(Run(bare, arguments[place + 1 :]))
    return None


def _runner_of_python(arguments: tuple[str, ...]) -> str | None:
    for place, word in enumerate(arguments[:-1]):
        if word == "-m":
            module = arguments[place + 1]
            if module in ("pytest", "unittest"):
                return "pytest"
            return "tox" if module in ("tox", "nox") else None
        if not word.startswith("-"):
            break
    script = next((word for word in arguments if not word.startswith("-")), "")
    return "pytest" if script.endswith("manage.py") and "test" in arguments else None


def _runner_of_scripts(plain: list[str]) -> str | None:
    words = [word for word in plain[:3] if word not in ("run", "exec")]
    if not words:
        return None
    return "js" if words[0] in _DIRECT or words[0] == "t" or _TEST_TARGET.fullmatch(words[0]) else None
