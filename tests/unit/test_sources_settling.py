"""When a changed file has settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gtftd.sources.looking import GONE, UNREADABLE, Look
from gtftd.sources.settling import Settled, Unsettled, Verdict, settle


def at(told: str | None, before: Verdict, look: Look, now: float) -> Verdict:
    left = before if isinstance(before, Unsettled) else None
    return settle(told, left, look, now, debounce_s=1, half_written_s=5)


def test_a_sound_change_is_told_when_it_rested() -> None:
    """Two looks that agree, a debounce apart."""
    new = Look("here", "b")
    first = at("a", None, new, 0)
    assert at("a", first, new, 0.5) == first
    assert Settled("b", valid=True) == at("a", first, new, 1)


def test_the_same_content_is_no_change() -> None:
    """A touch, a rename to the same, a rewrite of equal bytes, a change and back."""
    assert at("a", None, Look("here", "a"), 0) is None
    changed = at("a", None, Look("here", "b"), 0)
    assert at("a", changed, Look("here", "a"), 1) is None


def test_a_broken_file_is_waited_for_and_then_told_as_invalid() -> None:
    """Half-written files become whole within the time; others are a fact too."""
    broken, whole = Look("here", "b", sound=False), Look("here", "c")
    first = at("a", None, broken, 0)
    waiting = at("a", first, broken, 4.9)
    assert isinstance(waiting, Unsettled)
    assert Settled("b", valid=False) == at("a", waiting, broken, 5)
    rewritten = at("a", waiting, whole, 4.95)
    assert Settled("c", valid=True) == at("a", rewritten, whole, 5.95)


def test_a_file_that_vanishes_for_a_moment_is_not_gone() -> None:
    """Some writers remove and make anew."""
    first = at("a", None, GONE, 0)
    assert at("a", first, Look("here", "a"), 0.1) is None
    assert Settled(None, valid=True) == at("a", first, GONE, 1)


def test_what_cannot_be_read_changes_nothing() -> None:
    """A loop of links is not a deletion."""
    assert at("a", None, UNREADABLE, 0) is None


_looks = st.sampled_from(
    [GONE, UNREADABLE, Look("here", "a"), Look("here", "b"), Look("here", "c"), Look("here", "x", sound=False)]
)


@given(st.lists(st.tuples(_looks, st.floats(0.01, 4)), max_size=30))
def test_what_is_told_is_what_was_seen_and_the_last_content_is_told_in_the_end(steps: list[tuple[Look, float]]) -> None:
    """Whatever happens to a file: no fact repeats the one before, and the end is never missed."""
    told: str | None = "a"
    before: Unsettled | None = None
    now, look = 0.0, Look("here", "a")
    rest = [(steps[-1][0] if steps else look, 1.0)] * 12
    for look, passed in steps + rest:
        now += passed
        verdict = at(told, before, look, now)
        before = verdict if isinstance(verdict, Unsettled) else None
        if isinstance(verdict, Settled):
            assert verdict.sha256 != told
            assert verdict.sha256 == look.sha256
            assert verdict.valid == look.sound or not verdict.valid
            told = verdict.sha256
    if look.state != "unreadable":
        assert told == look.sha256
