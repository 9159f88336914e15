"""What sets models apart: settings, corpus, scores, and the items of an examination that flipped. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gtftd.registry.rows import flat
from gtftd.schemas.registry import Evaluation, ModelEntry

_MADE_OF = (
    "base_model", "base_digest", "tokenizer_sha256", "snapshot", "corpus_hash", "parent", "examples", "dpo_pairs",
    "lora_rank", "gtftd_version",
)  # fmt: skip
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Flips:
    """Items that both models were asked: what came, what went, and how many stayed as they were."""

    suite: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    same: int


def differing(models: Sequence[ModelEntry]) -> dict[str, Values]:
    """What these models were made of and with, where they differ: name -> the value of each, None where unset."""
    described = [_described(model) for model in models]
    names = list(dict.fromkeys(name for one in described for name in one))
    rows = {name: tuple(one.get(name) for one in described) for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values[1:])}


def flips(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Flips | None:
    """Between the newest examinations by the same suite; None where they have none in common. Newest first, both."""
    for new in after:
        old = next((one for one in before if one.suite == new.suite), None)
        if old is not None:
            return _flips(old, new)
    return None


def _described(model: ModelEntry) -> dict[str, Any]:
    made_of = {name: getattr(model, name) for name in _MADE_OF}
    conventions = {f"convention {path}": digest[:12] for path, digest in model.conventions.items()}
    return made_of | flat(model.training_config) | conventions


def _flips(old: Evaluation, new: Evaluation) -> Flips:
    before = {item.item: item.passed for item in old.items}
    both = [(item.item, before[item.item], item.passed) for item in new.items if item.item in before]
    return Flips(
        suite=new.suite,
        gained=tuple(item for item, was, passed in both if passed and not was),
        lost=tuple(item for item, was, passed in both if was and not passed),
        same=sum(was == passed for _, was, passed in both),
    )
