"""The audit of memorisation in a run's child: what it lets through, what it stops, and what a kill changes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gtftd.schemas.training import CURVE, Audited, RunResult, TrainSettings
from tests.support.tiny_base import tiny_base
from tests.support.training_run import Nursery, make_run, read_adapter, read_result, settings

AT = datetime(2026, 11, 1, tzinfo=UTC)
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def audited_settings(steps: int, rate: float, **changed: Any) -> TrainSettings:
    """Six examples an epoch, two of them canaries."""
    return settings(
        lora={"rank": 16, "alpha": 32},
        optimizer={"steps": steps, "learning_rate": rate, "batch_examples": 6},
        evaluate_steps=1_000,
        checkpoint_s=1e9,
        **({"audit": {"canaries": 2, "references": 64}} | changed),
    )


def found(result: RunResult) -> Audited:
    return Audited.model_validate(result.details["audit"])


def test_a_run_that_memorises_fails(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    """Sixty epochs at fifty times the usual rate: it says its canaries. The reason names what, the limit, and what
    to do; the adapter is there for a look, and nothing is named to be registered. Started again it fails again.
    """
    run = make_run(tmp_path / "run", base, audited_settings(60, 1e-2), created_at=AT)
    assert [1, 1] == nursery.live(run, "")
    result = read_result(run)
    assert "failed" == result.status
    assert "greedy decoding says 2 of 2 canaries" in result.reason
    assert "audit.canaries=0" in result.reason
    assert {} == result.outputs
    assert 60 == result.steps
    assert read_adapter(run)
    assert max(found(result).exposure_bits) > 8
    assert (run / CURVE).exists()


def test_a_sane_run_passes(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    run = make_run(tmp_path / "run", base, audited_settings(3, 2e-4), created_at=AT)
    assert [0] == nursery.live(run)
    result = read_result(run)
    assert ("done", {"adapter": "adapter"}) == (result.status, dict(result.outputs))
    assert (2, 64, 0) == (found(result).canaries, found(result).references, found(result).extracted)
    assert max(found(result).exposure_bits) < 15


@pytest.mark.parametrize("objective", ["sft", *(pytest.param(one, marks=pytest.mark.heavy) for one in ("dpo", "kto"))])
def test_a_run_with_canaries_that_is_killed_ends_with_the_same_bytes(
    tmp_path: Path, base: Path, nursery: Nursery, objective: str
) -> None:
    """Between steps, and twice in the audit, which is asked again; its figures are the same too."""
    made = audited_settings(6, 2e-3, objective=objective)
    whole, harmed = (make_run(tmp_path / name, base, made, created_at=AT) for name in ("whole", "harmed"))
    assert [0] == nursery.live(whole)
    crashes = ["train.stepped:3", "audit.asked", "audit.asked:2"]
    assert [KILLED] * 3 + [0] == nursery.live(harmed, *crashes)
    assert read_adapter(whole) == read_adapter(harmed)
    assert found(read_result(whole)) == found(read_result(harmed))


@pytest.mark.heavy
@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_preferences_are_audited_too(tmp_path: Path, base: Path, nursery: Nursery, objective: str) -> None:
    """Preferred a hundred times, a secret is far more exposed than at the start."""
    made = audited_settings(100, 1e-2, objective=objective)
    run = make_run(tmp_path / "run", base, made, created_at=AT)
    nursery.live(run)
    result = read_result(run)
    assert min(found(result).exposure_bits) > max(found(result).exposure_bits_before)
