"""What a person is told of a run that learned nothing."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from gtftd.training.checkpoint import TrainState
from gtftd.training.diagnosis import problems_of


def state(before: float | None, after: float | None) -> TrainState:
    return TrainState(steps=9, peak_rate=2e-4, threads=1, held_out_before=before, held_out_after=after)


@pytest.mark.parametrize(("before", "after"), [(6.9, 6.5), (None, None), (None, 6.5), (6.9, None)])
def test_a_loss_that_fell_or_was_not_looked_at_is_no_problem(before: float | None, after: float | None) -> None:
    """A run without a held-out split has nothing to compare."""
    assert () == problems_of(state(before, after))


@pytest.mark.parametrize("after", [6.9, 10.8])
def test_a_loss_that_did_not_fall_is_told_with_the_rate(after: float) -> None:
    (told,) = problems_of(state(6.9, after))
    assert f"6.9 before and {after:.4g} after" in told
    assert "optimizer.learning_rate, 0.0002 at its peak" in told
