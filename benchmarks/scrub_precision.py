"""What the scrubber cuts out of clean text, and how much of that it should have left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from benchmarks.scrub_recall import PLACEHOLDER, Spent, scrub
from benchmarks.scrub_verdict import Verdict, judge
from gtftd.scrub.scrubber import Scrubber
from gtftd.town.conversation import RawMessage
from tests.support.planted import texts_of
from tests.support.planted_clean import Clean

_AROUND = 200
_ANCHOR = 48
_FAR = 60_000
_QUOTES = ("'", '"')


@dataclass(frozen=True)
class Cut:
    """A span that was replaced."""

    kind: str
    span: str
    before: str
    after: str


def cuts(original: str, scrubbed: str) -> Iterator[Cut]:
    """The spans of the original that placeholders stand for, found by the text between them."""
    places = list(PLACEHOLDER.finditer(scrubbed))
    ends = [0, *(place.end() for place in places)]
    gaps = [scrubbed[end : place.start()] for end, place in zip(ends, places, strict=False)]
    gaps.append(scrubbed[ends[-1] :])
    _, start = _found(original, gaps[0], 0)
    for place, gap in zip(places, gaps[1:], strict=True):
        if original.startswith(place.group(), start):  # it stood there before
            _, start = _found(original, gap, start + len(place.group()))
            continue
        if gap.strip("'\""):
            end, following = _found(original, gap, start)
        else:
            end = following = len(original) if place is places[-1] else start
        yield Cut(
            place[1], original[start:end], original[max(0, start - _AROUND) : start], original[end : end + _AROUND]
        )
        start = max(end, following)


def _found(original: str, gap: str, at: int) -> tuple[int, int]:
    """Where the text between two placeholders begins and ends: a scrubber may have put quotes around these."""
    for form in _less_quotes(gap):
        begin = original.find(form, at, at + len(form) + _FAR)
        if begin >= 0:
            return begin, begin + len(form)
    begin = original.find(gap[1 : _ANCHOR + 1], at, at + _FAR)
    begin = min(len(original), at + _ANCHOR) if begin < 0 else begin
    tail = gap[-_ANCHOR - 1 : -1]
    end = original.find(tail, begin, begin + len(gap) + _FAR)
    return begin, begin if end < 0 else end + len(tail)


def _less_quotes(gap: str) -> list[str]:
    forms = [gap]
    if gap[:1] in _QUOTES:
        forms.append(gap[1:])
    if gap[-1:] in _QUOTES:
        forms += [form[:-1] for form in forms]
    return [form for form in forms if form]


@dataclass
class Precision:
    """Hits in clean text, judged; examples of each class for people to look at."""

    size: int = 0
    cut_bytes: int = 0
    wrong_bytes: int = 0
    spent: Spent = field(default_factory=Spent)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[tuple[str, bool]] = field(default_factory=Counter)
    by_source: Counter[tuple[str, bool]] = field(default_factory=Counter)
    distinct: set[tuple[bool, str]] = field(default_factory=set)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, source: str, cut: Cut, verdict: Verdict) -> None:
        self.cut_bytes += len(cut.span)
        self.wrong_bytes += 0 if verdict.right else len(cut.span)
        (self.right if verdict.right else self.wrong)[verdict.name] += 1
        self.by_kind[cut.kind, verdict.right] += 1
        self.by_source[source, verdict.right] += 1
        self.distinct.add((verdict.right, cut.span))
        shown = self.examples[cut.kind, verdict.name]
        if len(shown) < 12:
            shown.append(f"{cut.before[-50:]!r} [[{cut.span[:80]!r}]] {cut.after[:20]!r}")

    def share(self, *leaving_out: str) -> float:
        """Right of all hits; `leaving_out` names classes of right hits that are not counted."""
        right = sum(n for name, n in self.right.items() if name not in leaving_out)
        hits = right + self.wrong.total()
        return right / hits if hits else 1.0

    def share_distinct(self) -> float:
        right = sum(1 for verdict, _ in self.distinct if verdict)
        return right / len(self.distinct) if self.distinct else 1.0


def measure_precision(scrubber: Scrubber, texts: Iterable[Clean]) -> Precision:
    """Pieces of one file are the results of neighbouring calls, as when an agent reads it."""
    precision = Precision()
    for (source, _), group in groupby(texts, key=lambda clean: (clean.kind, clean.path)):
        pieces = list(group)
        messages = [RawMessage("tool", piece.text, tool_call_id=f"toolu_{at:04d}") for at, piece in enumerate(pieces)]
        precision.spent.size += sum(len(piece.text) for piece in pieces)
        scrubbed = scrub(scrubber, messages, precision.spent)
        for piece, message in zip(pieces, scrubbed, strict=True):
            precision.size += len(piece.text)
            for cut in cuts(piece.text, next(texts_of(message))):
                precision.add(source, cut, judge(cut.span, cut.before, cut.after))
    return precision


def report(precision: Precision, examples: int = 2) -> str:
    mb = precision.size / 1e6
    right, wrong = precision.right.total(), precision.wrong.total()
    rows = [
        f"clean text: {mb:.1f} MB, {right} right and {wrong} wrong redactions ({wrong / mb:.1f} wrong a MB), "
        f"{100 * precision.cut_bytes / precision.size:.3f} % of the characters, "
        f"{100 * precision.wrong_bytes / precision.size:.4f} % wrongly",
        f"  precision {100 * precision.share():.1f} %; "
        f"without e-mail addresses {100 * precision.share('e-mail address'):.1f} %; "
        f"each distinct span once {100 * precision.share_distinct():.1f} %",
        "  right: " + ", ".join(f"{name} {n}" for name, n in precision.right.most_common()),
        "  wrong: " + ", ".join(f"{name} {n}" for name, n in precision.wrong.most_common()),
        "  by placeholder (right/wrong): "
        + ", ".join(
            f"{kind} {precision.by_kind[kind, True]}/{precision.by_kind[kind, False]}"
            for kind in _names(precision.by_kind)
        ),
        "  by source (right/wrong): "
        + ", ".join(
            f"{kind} {precision.by_source[kind, True]}/{precision.by_source[kind, False]}"
            for kind in _names(precision.by_source)
        ),
    ]
    for (kind, name), shown in sorted(precision.examples.items()):
        if name in precision.wrong:
            rows += [f"  {kind} / {name}: {text}" for text in shown[:examples]]
    return "\n".join(rows)


def _names(counts: Counter[tuple[str, bool]]) -> list[str]:
    totals: Counter[str] = Counter()
    for (name, _), n in counts.items():
        totals[name] += n
    return [name for name, _ in totals.most_common()]
