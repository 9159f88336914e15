"""What became of a piece of work, how sure we are, and why. Pure. A close alone says little (gastown.md 5.5).

Judging has two steps. First everything that bears on the outcome becomes a list of facts in words of a closed
vocabulary; then label and confidence follow from these facts alone (`decide`). The facts are stored with the entry,
so that a reader can decide again.

The strongest evidence decides: a revert, a rejection that nothing followed, a merge, the exit that the agent gave,
a death, the close reason. The rest makes us more or less sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gtftd.corpus.evidence import Close, Session
from gtftd.corpus.findings import Finding
from gtftd.corpus.reasons import CLASSES, ReasonClass, classify
from gtftd.corpus.signals import Signals
from gtftd.corpus.stints import Stint
from gtftd.schemas.corpus import BAD, GOOD, Fact, FactKind, FailureMode, Label, Outcome

TICK = timedelta(seconds=1)
MOST = 0.99
_EXITS = frozenset({"COMPLETED", "ESCALATED", "DEFERRED", "PHASE_COMPLETE"})


def judge(
    stint: Stint | None,
    session: Session,
    said: str | None,
    signals: Signals | None = None,
    failures: Sequence[FailureMode] = (),
) -> Outcome:
    """`said` is the status that the agent gave with `gt done`, or `handoff`; None when it gave none."""
    facts = [*_of_session(stint, session), *_of_words(said, signals)]
    if stint is not None:
        facts += _of_stint(stint, session.actor)
    return _outcome(facts, failures)


def judge_bead(close: Close, stints: Sequence[Stint] = ()) -> Outcome:
    """The fate of a closed bead; `stints` are all of the episode that this close ended, if any are known."""
    facts = [fact for stint in stints for fact in _of_findings(stint.findings)]
    facts += [_again(stint) for stint in stints if stint.given_again_at is not None]
    facts += _of_close(close, stints[-1] if stints else None)
    return _outcome(facts, ())


def _outcome(facts: Iterable[Fact], failures: Sequence[FailureMode]) -> Outcome:
    told = tuple(sorted(set(facts), key=lambda fact: (fact.at is None, str(fact.at), fact.kind, fact.detail)))
    label, confidence = decide(told)
    return Outcome(label=label, confidence=confidence, evidence=told, failures=tuple(failures))


def decide(facts: Sequence[Fact]) -> tuple[Label, float]:
    """Label and confidence from stored facts: the first rule that speaks, then what supports and contradicts it."""
    case = _Case(facts)
    for rule in _RULES:
        found = rule(case)
        if found is not None:
            return found[0], _weighed(case, *found)
    return "unknown", 0.1


@dataclass(frozen=True)
class _Case:
    facts: Sequence[Fact]

    def all(self, *kinds: FactKind) -> list[Fact]:
        return [fact for fact in self.facts if fact.kind in kinds]

    def words(self, *kinds: FactKind) -> set[str]:
        """The first words of the details."""
        return {fact.detail.split(" ")[0] for fact in self.all(*kinds)}

    @property
    def reason(self) -> str:
        """The class of the close reason; empty when the bead is not closed."""
        return next((fact.detail.split(" ")[0] for fact in self.all("close_reason")), "")

    @property
    def reason_class(self) -> ReasonClass:
        """Raises KeyError when there is no reason."""
        return _BY_NAME[self.reason]

    @property
    def closer(self) -> str:
        return next((fact.detail.partition(" by ")[2] for fact in self.all("close_reason")), "")

    def landings(self) -> list[Fact]:
        """What says that the work is on the main branch."""
        reasons = [fact for fact in self.all("close_reason") if fact.detail.split(" ")[0] in _LANDINGS]
        return self.all("merged", "commit_on_main") + reasons

    def landed_after(self, at: datetime | None) -> bool:
        return any(fact.at is not None and at is not None and fact.at > at for fact in self.landings())


_BY_NAME: dict[str, ReasonClass] = {found.name: found for found in CLASSES.values()}
_MERGES = frozenset({"merged_request", "merged", "merged_commit"})
_LANDINGS = frozenset(name for name, found in CLASSES.items() if found.claims_landing)
_Found = tuple[Label, float] | None


def _by_revert(case: _Case) -> _Found:
    taken_back = [fact for fact in case.all("reverted") if not fact.detail.endswith(" late")]
    if taken_back and not case.landed_after(max((fact.at for fact in taken_back if fact.at), default=None)):
        return "reverted", 0.9
    return None


def _by_rejection(case: _Case) -> _Found:
    decisions = case.all("merge_rejected", "merge_failed")
    if not decisions or case.landed_after(last := decisions[-1].at):
        return None
    if last is None and case.landings():
        return None
    return ("rejected", 0.85) if decisions[-1].kind == "merge_rejected" else ("failed", 0.7)


def _by_merge(case: _Case) -> _Found:
    worth = [0.95] if case.all("commit_on_main") else []
    worth += [0.92] if case.all("merged") else []
    worth += [case.reason_class.confidence] if case.reason in _MERGES else []
    if not worth:
        return None
    return "merged", max(worth) + 0.02 * (len(worth) - 1)


def _by_exit(case: _Case) -> _Found:
    exits = case.words("exit_type")
    if "ESCALATED" in exits:
        return "escalated", 0.8
    if ("DEFERRED" in exits or case.all("handoff")) and case.closer != "its agent":
        return "deferred", 0.7
    if any(fact.detail.endswith("failed") for fact in case.all("exit_type")) and case.reason in {"", "bare"}:
        return "failed", 0.6
    return None


def _by_death(case: _Case) -> _Found:
    deaths = case.all("session_death")
    if not deaths:
        return None
    if any(fact.detail.startswith("no bead") for fact in deaths):
        return "failed", 0.4
    return "failed", 0.5 if any("several" in fact.detail for fact in deaths) else 0.7


def _by_sweep(case: _Case) -> _Found:
    return ("administrative", 0.75) if case.all("mass_close") and case.reason not in _LANDINGS else None


def _by_reason(case: _Case) -> _Found:
    if not case.reason:
        return None
    found = case.reason_class
    if case.closer == "who decides" and found.label in BAD:
        return "completed", 0.5  # to send work back is the decider's work done
    if found.name == "bare" and case.closer == "nobody who had it":
        return "unknown", 0.2
    if found.name == "bare" and case.closer == "the refinery":
        return "completed", 0.5
    return found.label, found.confidence


def _by_release(case: _Case) -> _Found:
    if case.all("escalation"):
        return "escalated", 0.6
    if case.all("requeue") or case.words("released") & {"unhook", "taken"}:
        return "abandoned", 0.6
    if case.all("released"):
        return ("failed", 0.5) if case.all("resling") else ("unknown", 0.2)
    return None


_RULES = (
    _by_revert, _by_rejection, _by_merge, _by_exit, _by_death, _by_sweep, _by_reason, _by_release,
)  # fmt: skip
"""The strongest first."""


_CONTRADICTIONS: tuple[tuple[tuple[FactKind, ...], float], ...] = (
    (("reopened",), 0.5),
    (("tests_failed",), 0.7),
    (("reverted",), 0.7),  # late, or landed once more
    (("resling",), 0.8),
    (("escalation",), 0.9),
    (("merge_rejected", "merge_failed"), 0.95),
    (("estopped",), 0.9),
)


def _weighed(case: _Case, label: Label, confidence: float) -> float:
    """Independent facts that agree raise the confidence, contradictions lower it."""
    sure = confidence
    if label in GOOD:
        for factor in _against(case):
            sure *= factor
        sure += 0.1 if label == "completed" and case.all("tests_passed") else 0.0
        sure += 0.05 if label == "completed" and "COMPLETED" in case.words("exit_type") else 0.0
    elif label in BAD:
        sure += 0.05 * bool(case.all("tests_failed")) + 0.05 * bool(case.all("reopened", "resling"))
    elif case.all("reopened"):
        sure *= 0.5
    return round(min(sure, MOST), 3)


def _against(case: _Case) -> Iterator[float]:
    """A factor for each contradiction. Failing tests are none for who sends work back because of them."""
    for kinds, factor in _CONTRADICTIONS:
        if case.all(*kinds) and (kinds != ("tests_failed",) or case.closer != "who decides"):
            yield factor
    if case.reason and case.reason_class.is_administrative:
        yield 0.8


def _of_session(stint: Stint | None, session: Session) -> Iterator[Fact]:
    if stint is None:
        if session.died:
            yield Fact(kind="session_death", detail="no bead", at=session.ended_at)
        yield Fact(kind="not_closed", detail="no bead")
    elif died_at(stint, session):
        several = any(finding.kind == "mass_death" for finding in stint.findings)
        detail = "before the work was done" + (", with several others" if several else "")
        yield Fact(kind="session_death", detail=detail, at=session.ended_at)


def died_at(stint: Stint | None, session: Session) -> bool:
    """Whether the session died at this work, before it was done."""
    if not session.died or stint is None:
        return session.died
    if stint.how == "done":
        return False
    end = stint.ended_at
    return stint.close is None or end is None or session.ended_at is None or session.ended_at < end - TICK


def _of_words(said: str | None, signals: Signals | None) -> Iterator[Fact]:
    """What stands in the transcript."""
    if said == "handoff":
        yield Fact(kind="handoff", detail="said")
    elif said in _EXITS:
        yield Fact(kind="exit_type", detail=f"{said} said")
    if signals is None:
        return
    if signals.tests:
        yield Fact(kind="tests_passed" if signals.tests[-1].passed else "tests_failed", detail="last run")
    if signals.escalated:
        yield Fact(kind="escalation", detail="said")
    if signals.nudged or signals.interrupted:
        yield Fact(kind="nudged", detail=f"{len(signals.nudged)} nudges, {len(signals.interrupted)} interruptions")
    if signals.estopped:
        yield Fact(kind="estopped", detail="said")


def _of_stint(stint: Stint, actor: str | None) -> Iterator[Fact]:
    yield from _of_findings(stint.findings)
    if stint.given_again_at is not None:
        yield _again(stint)
    if stint.close is not None:
        yield from _of_close(stint.close, stint)
        return
    if stint.how == "requeue":
        yield Fact(kind="requeue", detail="put back to open", at=stint.released_at)
    elif stint.how is not None:
        yield Fact(kind="released", detail=stint.how, at=stint.released_at)
    yield Fact(kind="not_closed", detail="the bead is not closed")


def _again(stint: Stint) -> Fact:
    return Fact(kind="resling", detail="given again", at=stint.given_again_at)


def _of_close(close: Close, stint: Stint | None) -> Iterator[Fact]:
    reason, closer = classify(close.reason), _closer(close, stint)
    yield Fact(kind="close_reason", detail=f"{reason.name} by {closer}", at=close.closed_at)
    is_decision = closer == "who decides" and not reason.is_administrative
    if close.swept and not reason.claims_landing and not is_decision:
        yield Fact(kind="mass_close", detail="many beads at once by one actor", at=close.closed_at)
    if close.reopened:
        yield Fact(kind="reopened", detail="opened again later")


def _closer(close: Close, stint: Stint | None) -> str:
    """Who closed it, seen from the work."""
    is_request = stint is not None and any(finding.kind == "request" for finding in stint.findings)
    if is_request or close.issue_type == "merge-request":
        return "who decides"
    worker = stint.actor if stint is not None else close.assignee
    if worker is None or (stint is None and close.assignee is None):
        return "nobody who had it"
    if close.closed_by == worker:
        return "its agent"
    is_refinery = close.closed_by is not None and close.closed_by.endswith("/refinery")
    return "the refinery" if is_refinery else "another"


def _of_findings(findings: Iterable[Finding]) -> Iterator[Fact]:
    kinds: dict[str, FactKind] = {"merged": "merged", "rejected": "merge_rejected", "failed": "merge_failed"}
    for finding in findings:
        if finding.kind == "decision" and finding.what in kinds:
            yield Fact(kind=kinds[finding.what], detail=f"request {finding.names[0]}", at=finding.at)
            yield from _revert_of(finding)
        elif finding.kind == "landed":
            yield Fact(kind="commit_on_main", detail=_short(finding.names[0]), at=finding.at)
            yield from _revert_of(finding)
        elif finding.kind == "reverted" and finding.reverted_at is None:
            yield Fact(kind="reverted", detail=f"by {_short(finding.names[0])}", at=finding.at)
        elif finding.kind == "exit":
            yield Fact(kind="exit_type", detail=finding.what, at=finding.at)
        elif finding.kind == "escalated":
            yield Fact(kind="escalation", detail="sent", at=finding.at)
        elif finding.kind == "nudged":
            yield Fact(kind="nudged", detail="sent", at=finding.at)
        elif finding.kind == "estopped":
            yield Fact(kind="estopped", detail=finding.what, at=finding.at)


def _revert_of(finding: Finding) -> Iterator[Fact]:
    if finding.reverted_at is not None:
        late = " late" if finding.reverted_late else ""
        yield Fact(kind="reverted", detail=f"by {_short(finding.reverted_by)}{late}", at=finding.reverted_at)


def _short(commit: str) -> str:
    return commit[:12]
