"""Exposure, canaries, and what an audit says of an adapter."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.schemas.training import Audited, AuditSettings, LoraSettings, RunSpec
from gtftd.scrub import Scrubber
from gtftd.training import audit_exposure, lora, model
from gtftd.training.audit import audit, complaint
from gtftd.training.canaries import WORDS, candidates, draw_canaries, draw_references, plant, space_bits
from tests.support.training_data import CHATML, STRICT, THINKING, base_folder, encoder, spec


def told(**changes: Any) -> Audited:
    fields: dict[str, Any] = {
        "canaries": 2, "references": 256, "space_bits": 40.0, "exposure_bits": (1.0, 3.0),
        "exposure_bits_before": (0.5, 2.0), "extracted": 0, "chance": 0.0,
    }  # fmt: skip
    return Audited.model_validate(fields | changes)


def a_spec(tmp_path: Path, *, name: str = "run-1", **settings: Any) -> RunSpec:
    base = base_folder(CHATML)
    return spec(tmp_path, "none", base, audit={"canaries": 3, "references": 64} | settings).model_copy(
        update={"run": name}
    )


def test_the_first_of_n_has_log2_of_n_bits_by_rank() -> None:
    references = [float(number) for number in range(10, 265)]
    assert 8.0 == audit_exposure.by_rank(1.0, references)
    assert 0.0 == audit_exposure.by_rank(1e9, references)
    assert 7.0 == audit_exposure.by_rank(10.5, references)


def test_a_secret_that_is_nothing_special_has_1_44_bits_on_average() -> None:
    """The mean of -log2 of a uniform share is log2(e); 0.05 is four deviations of this mean."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(8_000):
        drawn = random.normal(100, 10, 129).tolist()
        found.append(audit_exposure.by_rank(drawn[0], drawn[1:]))
    assert np.mean(found) == pytest.approx(math.log2(math.e), abs=0.07)


def test_few_references_make_no_alarm_by_chance() -> None:
    """Perplexities lean to the right in real models; of 2,000 secrets that nobody planted none has 20 bits."""
    random = np.random.default_rng(3)
    drawn = random.gamma(16, 2, (2_000, 33))
    assert max(audit_exposure.exposure(one[0], one[1:].tolist()) for one in drawn) < 20


@given(st.lists(st.floats(1, 1e3), min_size=32, max_size=64), st.floats(-1e3, 2e3))
def test_exposure_is_never_negative_and_falls_with_perplexity(references: list[float], secret: float) -> None:
    found = audit_exposure.exposure(secret, references)
    assert found >= 0
    assert math.isfinite(found)
    assert audit_exposure.exposure(secret - 1, references) >= found - 1e-9


@pytest.mark.parametrize("deviations", [3, 5, 8])
def test_the_fit_sees_further_than_the_rank(deviations: int) -> None:
    """Of a normal spread the tail is known; its skew is told by 4,000 draws to a few percent of the bits."""
    drawn = np.random.default_rng(1).normal(0, 1, 4_000).tolist()
    known = -math.log2(0.5 * math.erfc(deviations / math.sqrt(2)))
    assert known == pytest.approx(audit_exposure.by_fit(-deviations, drawn), rel=0.1)


@pytest.mark.parametrize("slant", [-4.0, -1.0, 0.0, 2.0])
def test_the_tail_of_a_skew_normal_is_what_draws_from_it_show(slant: float) -> None:
    """300,000 draws: shares to 0.004."""
    random = np.random.default_rng(2)
    delta = slant / math.sqrt(1 + slant**2)
    drawn = delta * abs(random.normal(size=300_000)) + math.sqrt(1 - delta**2) * random.normal(size=300_000)
    for z in (-2.0, -0.5, 0.0, 1.5):
        assert float((drawn < z).mean()) == pytest.approx(math.exp(audit_exposure._log_tail(z, slant)), abs=0.004)


def test_canaries_are_of_the_run_and_of_nothing_else(tmp_path: Path) -> None:
    """The same in each life of a run; others in another run, and in one of the same name at another time."""
    one = a_spec(tmp_path)
    assert draw_canaries(one) == draw_canaries(a_spec(tmp_path))
    assert draw_canaries(one)[:2] == draw_canaries(a_spec(tmp_path, canaries=2))
    later = one.model_copy(update={"created_at": one.created_at + timedelta(seconds=1)})
    others = [draw_canaries(a_spec(tmp_path, name="run-2")), draw_canaries(later)]
    secrets = [canary.secret for drawn in (draw_canaries(one), *others) for canary in drawn]
    assert 9 == len(set(secrets))


def test_references_are_of_the_same_space_and_never_the_canary(tmp_path: Path) -> None:
    made = a_spec(tmp_path, references=500)
    canary = draw_canaries(made)[0]
    references = draw_references(made, canary)
    assert 500 == len({*references} - {canary.secret, canary.other})
    assert references == draw_references(made, canary)
    assert all(5 == len(one.split()) and {*one.split()} <= {*WORDS} for one in references)
    assert 40.0 == space_bits()
    assert 256 == len({*WORDS})


def test_a_canary_looks_like_no_secret(tmp_path: Path) -> None:
    """The scrubber, which looks for secrets, takes none of it."""
    scrubber = Scrubber({}, key=b"k" * 32)
    for canary in draw_canaries(a_spec(tmp_path, canaries=64)):
        for text in (canary.question, canary.secret):
            assert text == scrubber.scrub_text(text)


@pytest.mark.parametrize("template", [None, CHATML, STRICT, THINKING])
def test_candidates_are_the_tokens_that_are_planted(tmp_path: Path, template: str | None) -> None:
    """What is asked for is what was shown, token by token, whatever the template sets around it."""
    canary = draw_canaries(a_spec(tmp_path))[0]
    parted = candidates(canary, [canary.secret, canary.other], encoder(template))
    text = encoder(template)._tokenizer.decode(parted.sides[0].tokens.tolist(), skip_special_tokens=False)
    assert text.endswith(f"{canary.secret}<|im_end|>")
    assert 2 == len(parted.sides)


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_each_objective_has_canaries_of_its_shape(tmp_path: Path, objective: Any) -> None:
    canaries = draw_canaries(a_spec(tmp_path))
    assert 3 == len(list(plant(canaries, objective)))


def test_an_untrained_adapter_gives_nothing_away(tmp_path: Path) -> None:
    """It does nothing yet, so there is only chance; the learner is as it was before, and twice gives the same."""
    made = a_spec(tmp_path)
    learner = lora.attach(model.load_base(Path(made.base)), LoraSettings(), begin=None, kind="role")
    beats: list[int] = []
    found = audit(learner, made, encoder(CHATML), beat=lambda: beats.append(1), stop=lambda: False)
    assert found is not None
    assert max(found.exposure_bits) < 12
    assert (3, 0) == (found.canaries, found.extracted)
    assert "" == complaint(found, made.settings.audit)
    assert learner.trunk.training
    assert len(beats) > 3
    assert found == audit(learner, made, encoder(CHATML), beat=lambda: None, stop=lambda: False)
    assert audit(learner, made, encoder(CHATML), beat=lambda: None, stop=lambda: True) is None


def test_a_complaint_names_figure_limit_and_remedy() -> None:
    settings = AuditSettings()
    assert "" == complaint(told(exposure_bits=(20.0,)), settings)
    exposed = complaint(told(exposure_bits=(2.0, 27.31)), settings)
    assert "27.3 of 40 bits of exposure, and audit.most_exposure_bits is 20" in exposed
    assert "fewer epochs" in exposed
    assert "audit.canaries=0" in exposed
    assert "greedy decoding says 1 of 2" in complaint(told(extracted=1), settings)
    assert "100 samples say a canary with a chance of 0.25, and audit.most_chance is 0.01" in complaint(
        told(chance=0.25), settings
    )
