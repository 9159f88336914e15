"""What an entry is used for, and how much it weighs: confidence, conventions, conduct, recency, own models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gtftd.corpus.snapshot.select import WORK, Row
from gtftd.schemas.corpus import BAD, GOOD
from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import Reason, Use

CONDUCT = frozenset({"escalated", "deferred"})
"""Giving a problem to whom it belongs may be the right thing to do: to follow, at less weight."""
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Judgement:
    """What becomes of an entry by its label alone; `use` is None when it is out, for `reason`."""

    use: Use | None
    why: str
    reason: Reason = "label"


def judge(row: Row, settings: SnapshotSettings) -> Judgement:
    """Before anything of its text is read."""
    if row.kind not in WORK:
        return Judgement(None, f"a document ({row.kind}): nobody is trained on it", "document")
    if row.kind == "curated" and row.outcome not in BAD:
        return Judgement("sft", "an operator gave it as an example to follow")
    if row.outcome not in GOOD | BAD | CONDUCT:
        return Judgement(None, f"its outcome is {row.outcome}: neither to follow nor to avoid", "label")
    if row.confidence < settings.min_confidence:
        why = f"{row.outcome} with confidence {row.confidence:.2f}, less than {settings.min_confidence:.2f}"
        return Judgement(None, why, "low_confidence")
    if not row.trainable and row.outcome not in BAD:
        return Judgement(None, "no turn of it may be learned", "nothing_supervised")
    return Judgement("bad" if row.outcome in BAD else "sft", f"{row.outcome}, confidence {row.confidence:.2f}")


def weigh(
    row: Row, settings: SnapshotSettings, *, newest_at: float, stale: Sequence[int], own: bool
) -> tuple[float, str]:
    """The weight, rounded to 4 digits, and the factors in words."""
    factors = [("confidence", 1.0 if row.kind == "curated" else row.confidence)]
    if stale:
        factors.append((f"{len(stale)} turns run commands that conventions left behind", settings.stale_weight))
    if row.outcome in CONDUCT:
        factors.append((row.outcome, settings.conduct_weight))
    if own:
        factors.append(("made by one of our own models", settings.own_model_weight))
    factors.append(("recency", recency(row.at, newest_at, settings)))
    weight = 1.0
    for _, factor in factors:
        weight *= factor
    return round(weight, 4), ", ".join(f"{name} x{factor:.4g}" for name, factor in factors)


def recency(at: float, newest_at: float, settings: SnapshotSettings) -> float:
    """Half for every half-life, in whole days before the newest work: the clock has no part in it."""
    days = max(0.0, newest_at - at) // _DAY_S
    factor: float = 0.5 ** (days / settings.half_life_days)
    return max(settings.least_recency, factor)
