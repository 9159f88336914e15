"""The classes of failure that the specification names, judged from what a span shows."""

from __future__ import annotations

from collections.abc import Sequence

from gtftd.corpus.conventions import Violation
from gtftd.corpus.signals import Signals
from gtftd.schemas.corpus import FailureMode

_BRANCH_RULES = frozenset({"push-to-main", "commit-on-main", "commit-on-others-branch"})
_OF_OTHER_MODES = _BRANCH_RULES | {"dependency-direction"}
_ENDED_BY_TIME = ("timeout", "timed out", "timed_out", "deadline", "hung", "stuck")
_ENDED_BY_MEMORY = ("oom", "out of memory", "out_of_memory", "137")
_MANY_SOFT = 3


def failure_modes(
    signals: Signals, violations: Sequence[Violation], *, end_reason: str | None, died: bool
) -> tuple[FailureMode, ...]:
    """Every class that the evidence shows, in a fixed order; a span may show several, or none."""
    reason = (end_reason or "").lower()
    broken = {violation.rule for violation in violations}
    modes: dict[FailureMode, bool] = {
        "timeout": signals.timed_out or (died and any(word in reason for word in _ENDED_BY_TIME)),
        "wrong_branch": bool(signals.wrong_branch) or not _BRANCH_RULES.isdisjoint(broken),
        "broke_tests": _broke_tests(signals),
        "ignored_conventions": _ignored(violations),
        "memory_crash": bool(signals.memory_crash) or (died and any(word in reason for word in _ENDED_BY_MEMORY)),
        "skipped_hooks": bool(signals.hooks_skipped),
        "wrong_dependency_direction": bool(signals.dependency_direction) or "dependency-direction" in broken,
    }
    return tuple(mode for mode, shown in modes.items() if shown)


def _broke_tests(signals: Signals) -> bool:
    """The last word of the tests is red, and they were green before or the work was handed in regardless."""
    if not signals.tests or signals.tests[-1].passed:
        return False
    return signals.said == "COMPLETED" or signals.pushed or any(test.passed for test in signals.tests)


def _ignored(violations: Sequence[Violation]) -> bool:
    """One hard rule broken, or many soft ones; what has a class of its own does not count twice."""
    counted = [violation for violation in violations if violation.rule not in _OF_OTHER_MODES]
    hard = any(violation.severity == "hard" for violation in counted)
    return hard or len({violation.rule for violation in counted}) >= _MANY_SOFT
