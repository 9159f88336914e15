"""Whether a snapshot is fit to be trained on, and if not, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gtftd.corpus.snapshot.evals import EvalIndex
from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import Gate, Item, Selection


def reasons_against(
    items: Sequence[Item],
    selection: Selection,
    settings: SnapshotSettings,
    evals: EvalIndex,
    unmet: Sequence[Gate],
) -> list[Gate]:
    """Nothing here stops the build: a snapshot that is not ready can be looked at, and trainers refuse it."""
    good = [item for item in items if item.use == "sft"]
    train = [item for item in good if item.split == "train"]
    if not good:
        asked = f"role {selection.role or 'any'}, rigs {', '.join(selection.rigs) or 'none'}"
        return [Gate(gate="nothing", why=f"no entry to follow was found ({asked})")]
    return [
        *_tokens(train, settings),
        *_roles(train, selection, settings),
        *unmet,
        *_test(good, settings),
        *_evals(evals),
    ]


def _tokens(train: Sequence[Item], settings: SnapshotSettings) -> list[Gate]:
    tokens, least = sum(item.supervised_tokens for item in train), settings.min_supervised_tokens
    if tokens >= least:
        return []
    return [Gate(gate="supervised_tokens", why=f"{tokens:,} to train on, {least:,} are the least")]


def _roles(train: Sequence[Item], selection: Selection, settings: SnapshotSettings) -> list[Gate]:
    counts = Counter(item.role for item in train)
    roles = [selection.role] if selection.role is not None else sorted(counts)
    least = settings.min_role_entries
    return [
        Gate(gate="role_entries", why=f"{counts[role]} of role {role} to train on, {least} are the least")
        for role in roles
        if counts[role] < least
    ]  # fmt: skip


def _test(good: Sequence[Item], settings: SnapshotSettings) -> list[Gate]:
    if settings.test_fraction == 0 or any(item.split == "test" for item in good):
        return []
    return [
        Gate(gate="no_test", why="nothing is kept for testing: all work hangs together, or there is too little of it")
    ]


def _evals(evals: EvalIndex) -> list[Gate]:
    if evals.files and not evals.items:
        return [Gate(gate="eval_items", why=f"{evals.files} eval files were named, and they hold no item")]
    return []
