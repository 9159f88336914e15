"""What is measured of a content once: sizes, sketches, commands, corrections; the builder keeps it by content hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from gtftd.corpus.snapshot.conventions import town_commands
from gtftd.corpus.snapshot.danger import dangers_in, hinted
from gtftd.corpus.snapshot.utterances import Utterance, utterances_of
from gtftd.corpus.snapshot.windows import estimate_tokens, supervised_chars, supervised_chars_in, windows
from gtftd.corpus.snapshot.words import exact_digest, phrases, sketch, words_of
from gtftd.corpus.texts import references, whole
from gtftd.schemas.corpus import Entry, Message
from gtftd.schemas.event import Frozen
from gtftd.schemas.snapshots import PairKind

VERSION = 1
"""To be raised when anything here measures differently."""
_NEAR_S = 120.0
"""A nudge is recorded within so many seconds of the message that it put into the session."""


class Correction(Frozen):
    """A turn that somebody stepped in after, and the turn that the agent took then."""

    kind: PairKind
    rejected: int
    chosen: int


class Features(Frozen):
    """Measures of one content."""

    messages: int
    first_own: int
    """The first turn of the agent; `messages` when there is none."""
    turns: dict[int, int] = Field(default_factory=dict)
    """Characters that count in the loss, by trainable turn."""
    windows: int = 0
    exact: str = ""
    commands: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    dangers: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    masked_stale: tuple[int, ...] = ()
    violations: tuple[int, ...] = ()
    corrections: tuple[Correction, ...] = ()
    texts: tuple[str, ...] = ()

    def supervised_chars(self, stale: Sequence[int] = ()) -> int:
        if not stale:
            return sum(self.turns.values())
        return sum(chars for turn, chars in self.turns.items() if turn not in stale)

    def supervised_tokens(self, stale: Sequence[int] = ()) -> int:
        return estimate_tokens_of(self.supervised_chars(stale))


@dataclass(frozen=True)
class Measured:
    """Features with the two sketches that are kept beside them."""

    features: Features
    sketch: bytes
    phrases: bytes


def estimate_tokens_of(chars: int) -> int:
    return estimate_tokens("x" * chars) if chars < 8 else -(-chars * 2 // 7)


def measure(
    entry: Entry, utterances: Sequence[Utterance], text_of: Callable[[str], str], window_tokens: int
) -> Measured:
    """Everything that follows from the content alone (and from the length of a window)."""
    turns = {
        i: chars
        for i, one in enumerate(utterances)
        if one.message.trainable and (chars := supervised_chars_in(one.text)) > 0
    }
    words, asked = _said_and_asked(utterances)
    resolved = whole(entry, text_of)
    features = Features(
        messages=len(entry.messages),
        first_own=next((i for i, m in enumerate(entry.messages) if m.role == "assistant"), len(entry.messages)),
        turns=turns,
        windows=len(windows(resolved.messages, window_tokens, estimate_tokens)),
        exact=exact_digest(words),
        commands=town_commands(entry.messages),
        dangers=_dangers({turn: utterances[turn].text for turn in turns}),
        masked_stale=tuple(i for i, m in enumerate(entry.messages) if m.masked == "stale"),
        violations=tuple(i for i, m in enumerate(entry.messages) if m.masked == "violation"),
        corrections=tuple(corrections_of(entry)),
        texts=tuple(sorted(references(entry))),
    )
    return Measured(features, sketch(words), phrases([*words, *asked]))


def said_and_asked(entry: Entry) -> tuple[list[str], list[str]]:
    """The words of the turns that may be learned, and those of whoever spoke to the agent."""
    return _said_and_asked(utterances_of(entry))


def _said_and_asked(utterances: Iterable[Utterance]) -> tuple[list[str], list[str]]:
    said: list[str] = []
    asked: list[str] = []
    for one in utterances:
        if one.message.trainable:
            said += one.learned
        if one.message.role == "user" and one.message.kind == "turn":
            asked += words_of(one.message.content) if one.message.tool_calls else one.words
    return said, asked


def corrections_of(entry: Entry) -> list[Correction]:
    """Turns that were cut short, nudged or e-stopped, each with the next turn that may be learned.

    Only where somebody spoke between the two: without a correction nothing says that the second is the better one.
    """
    found = [
        Correction(kind="interrupted", rejected=i, chosen=chosen)
        for i, message in enumerate(entry.messages)
        if message.masked == "interrupted" and (chosen := _corrected(entry.messages, i)) is not None
    ]
    taken = {correction.rejected for correction in found}
    for fact in entry.outcome.evidence:
        if fact.kind in ("nudged", "estopped") and fact.at is not None:
            before = _turn_before(entry.messages, fact.at.timestamp())
            chosen = None if before is None else _corrected(entry.messages, before)
            if before is not None and chosen is not None and before not in taken:
                taken.add(before)
                kind: PairKind = "nudged" if fact.kind == "nudged" else "estopped"
                found.append(Correction(kind=kind, rejected=before, chosen=chosen))
    return sorted(found, key=lambda correction: correction.rejected)


def _corrected(messages: Sequence[Message], rejected: int) -> int | None:
    """The next trainable turn after a message of a person or another agent."""
    asked = next((i for i in range(rejected + 1, len(messages)) if messages[i].role == "user"), None)
    if asked is None:
        return None
    return next(
        (i for i in range(asked + 1, len(messages)) if messages[i].trainable and supervised_chars(messages[i]) > 0),
        None,
    )


def _turn_before(messages: Sequence[Message], at: float) -> int | None:
    """The agent's last turn before the message that came about then."""
    about = [
        i
        for i, message in enumerate(messages)
        if message.role == "user" and message.at is not None and abs(message.at.timestamp() - at) <= _NEAR_S
    ]
    if not about:
        return None
    came = min(about, key=lambda i: (abs(_time(messages[i]) - at), i))
    return next((i for i in range(came - 1, -1, -1) if messages[i].role == "assistant"), None)


def _time(message: Message) -> float:
    return message.at.timestamp() if message.at is not None else 0.0


def _dangers(turns: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    among = hinted("\n".join(turns.values()))  # mostly none: most turns are not looked at
    for turn, text in turns.items() if among else ():
        for name in dangers_in(text, among):
            found.setdefault(name, []).append(turn)
    return {name: tuple(where) for name, where in sorted(found.items())}


def encode(features: Features) -> str:
    return features.model_dump_json(exclude_defaults=True)


def decode(text: str) -> Features:
    return Features.model_validate_json(text)
