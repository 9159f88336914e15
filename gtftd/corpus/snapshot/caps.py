"""No source teaches too much: entries over a cap are left out, the least sure first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One entry as the caps see it."""

    entry_id: str
    source: str
    own_model: bool
    tokens: int
    confidence: float
    at: float


@dataclass(frozen=True)
class Capped:
    """Who is left out, and why; `unmet`: caps that no choice of these entries can keep, with what would help."""

    out: Mapping[str, str] = field(default_factory=dict)
    unmet: Sequence[str] = ()


def cap_sources(parts: Sequence[Part], cap_of: Callable[[str], float]) -> Capped:
    """Water-filling: the largest total T for which no source has more than its cap times T.

    With too few sources there is none (ten sources at 10 % each are the least): then nobody is left out.
    """
    return _cap(parts, lambda part: part.source, cap_of, "source")


def cap_own_models(parts: Sequence[Part], cap: float) -> Capped:
    """Entries that our own models made, all together."""

    def cap_of(kind: str) -> float:
        return cap if kind == "our own models" else 1.0

    return _cap(parts, lambda part: "our own models" if part.own_model else "others", cap_of, "share")


def shares(parts: Sequence[Part], name_of: Callable[[Part], str]) -> dict[str, int]:
    """Tokens by name."""
    found: dict[str, int] = {}
    for part in parts:
        found[name_of(part)] = found.get(name_of(part), 0) + part.tokens
    return found


def level(sizes: Mapping[str, int], cap_of: Callable[[str], float]) -> float:
    """The largest T with T = sum of min(size, cap x T); 0 when there is none but 0."""
    if sum(min(1.0, cap_of(name)) for name in sizes) < 1.0:
        return 0.0
    total = float(sum(sizes.values()))
    for _ in range(200):
        smaller = sum(min(size, cap_of(name) * total) for name, size in sizes.items())
        if total - smaller <= 1e-9 * total:
            break
        total = smaller
    return total


def _cap(parts: Sequence[Part], name_of: Callable[[Part], str], cap_of: Callable[[str], float], noun: str) -> Capped:
    kept = list(parts)
    out: dict[str, str] = {}
    while kept:
        sizes = shares(kept, name_of)
        over = _over(sizes, cap_of)
        if not over:
            return Capped(out)
        total = level(sizes, cap_of)
        if total < 1.0:
            break
        for name in over:
            mine = sorted((p for p in kept if name_of(p) == name), key=lambda p: (p.confidence, p.at, p.entry_id))
            _drop(mine, cap_of(name) * total, sizes[name], f"{noun} {name} has more than {cap_of(name):.0%}", out)
        kept = [part for part in kept if part.entry_id not in out]
    sizes = shares(parts, name_of)
    whole = sum(sizes.values())
    worst = sorted(_over(sizes, cap_of), key=lambda name: (-sizes[name], name))
    return Capped(
        {},
        [f"{noun} {name} has {sizes[name] / whole:.1%} of the supervised tokens, the cap is {cap_of(name):.0%}, and "
         f"leaving entries out cannot mend it: {len(sizes)} in all are too few, or too unequal" for name in worst[:5]],
    )  # fmt: skip


def _over(sizes: Mapping[str, int], cap_of: Callable[[str], float]) -> list[str]:
    total = sum(sizes.values())
    return [name for name, size in sorted(sizes.items()) if size > cap_of(name) * total * (1 + 1e-9)]


def _drop(mine: Sequence[Part], budget: float, size: int, why: str, out: dict[str, str]) -> None:
    """Leave out from the front until the rest fits; at least one goes, so that the search ends."""
    for place, part in enumerate(mine):
        if place and size <= budget * (1 + 1e-9):
            return
        size -= part.tokens
        out[part.entry_id] = f"{why} of the supervised tokens; this is among its least sure entries"
