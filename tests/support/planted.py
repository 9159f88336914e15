"""Generated sessions with planted secrets, the truth about them, and the judgement of a scrubber by it.

    for session in sessions(seed=1, size=20_000_000): ...
    score = Score(); score.judge(session, scrubbed_messages)

Everything follows from the seed and from the text that lies on this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from gtftd.town.conversation import RawCall, RawMessage
from tests.support.planted_adversary import Wanted
from tests.support.planted_contexts import Piece, render
from tests.support.planted_encodings import ENCODERS
from tests.support.planted_filler import passage
from tests.support.planted_kinds import Group, Kind, kinds

SESSION_BYTES = 40_000


@dataclass(frozen=True)
class Plant:
    """The truth about one secret: what it is, how it was written, and where."""

    kind: str
    group: Group
    encoding: str
    context: str
    held_out: bool
    secrets: tuple[str, ...]
    needs_whole: bool
    where: tuple[int, ...]
    """The messages it was written with."""


@dataclass(frozen=True)
class Session:
    messages: list[RawMessage]
    plants: list[Plant]
    size: int


class _Writer:
    """Builds one session: messages in an order that a transcript could have."""

    def __init__(self, rng: Random, held_out: bool) -> None:
        self._rng = rng
        self._held_out = held_out
        self._calls = 0
        self._repeating: set[str] = set()
        self.messages: list[RawMessage] = []
        self.plants: list[Plant] = []
        self.size = 0
        self._add(RawMessage("user", "\n".join(self._filler(600))))

    def plant(self, kind: Kind, encoding: str, rng: Random) -> None:
        """With a chance of its own: what surrounds it, and so the machine, does not decide what is planted and how."""
        self._rng = rng
        piece = render(self._rng, kind, self._held_out)
        chunks = ENCODERS[encoding](self._rng, piece, self._held_out)
        first = len(self.messages)
        if len(chunks) == 1:
            self._single(piece, chunks[0])
        else:
            self._apart(chunks, with_call_between=encoding == "chunks-apart")
        if kind.group in ("known", "pii"):
            self._repeating.add(kind.name)
        where = tuple(range(first, len(self.messages)))
        secrets, context = piece.secrets, piece.context
        self.plants.append(
            Plant(kind.name, kind.group, encoding, context, self._held_out, secrets, kind.needs_whole, where)
        )

    def has(self, kind: Kind) -> bool:
        """True if a second plant could not be told from the first: the town's own values are always the same."""
        return kind.name in self._repeating

    def _filler(self, size: int) -> list[str]:
        return passage(self._rng, size, self._held_out)

    def _single(self, piece: Piece, text: str) -> None:
        around = [*self._filler(self._rng.randint(200, 1200)), text, *self._filler(self._rng.randint(100, 800))]
        if piece.place == "assistant":
            self._add(RawMessage("assistant", "\n".join(around)))
        elif piece.place == "arguments":
            written = {"file_path": "notes.txt", "content": "\n".join(around)}
            self._call({"command": text} if self._rng.random() < 0.5 else written)
            self._result(self._filler(500))
        else:
            self._call({"command": "make check"})
            self._result(around)

    def _apart(self, chunks: list[str], with_call_between: bool) -> None:
        self._call({"command": "tail -f build.log", "run_in_background": True})
        for at, chunk in enumerate(chunks):
            if at and with_call_between:
                self._call({"bash_id": "bash_1"}, name="BashOutput")
            self._result([chunk])

    def _call(self, arguments: Mapping[str, object], name: str = "Bash") -> None:
        self._calls += 1
        self._add(RawMessage("assistant", "", (RawCall(f"toolu_{self._calls:04d}", name, dict(arguments)),)))

    def _result(self, lines: list[str]) -> None:
        self._add(RawMessage("tool", "\n".join(lines), tool_call_id=f"toolu_{self._calls:04d}"))

    def _add(self, message: RawMessage) -> None:
        self.messages.append(message)
        self.size += sum(map(len, texts_of(message)))


def sessions(
    seed: int, size: int, styles: tuple[bool, ...] = (False, True), of: Iterable[Kind] | None = None
) -> Iterator[Session]:
    """Sessions of together about `size` characters; every kind meets every encoding about equally often."""
    order = {style: Random(f"{seed} {style}") for style in styles}
    planted: Counter[bool] = Counter()
    cells = [(kind, encoding) for kind in (of or kinds()) for encoding in ENCODERS]
    left: dict[bool, list[tuple[Kind, str]]] = {style: [] for style in styles}
    number = 0
    while size > 0:
        held_out = styles[number % len(styles)]
        number += 1
        writer = _Writer(Random(f"{seed} session {number}"), held_out)
        while writer.size < min(SESSION_BYTES, size):
            if not left[held_out]:
                left[held_out] = order[held_out].sample(cells, len(cells))
            kind, encoding = left[held_out].pop()
            planted[held_out] += 1
            if not writer.has(kind):
                writer.plant(kind, encoding, Random(f"{seed} {held_out} {planted[held_out]}"))
        size -= writer.size
        yield Session(writer.messages, writer.plants, writer.size)


def _read_by_joining(session: Session, messages: Sequence[object]) -> set[int]:
    """Those cut over two results with a call in between: the results alone are put together again."""
    found: set[int] = set()
    for at, plant in enumerate(session.plants):
        if plant.encoding == "chunks-apart":
            wanted = Wanted()
            for secret in plant.secrets:
                wanted.add(at, secret, plant.needs_whole)
            results = [messages[place] for place in plant.where if session.messages[place].role == "tool"]
            found |= wanted.found_in(text for message in results for text in texts_of(message))
    return found


def texts_of(message: object) -> Iterator[str]:
    """All text of a message, raw or scrubbed: its content, and every string in its calls' arguments."""
    yield str(getattr(message, "content", ""))
    for call in getattr(message, "tool_calls", ()):
        yield from _strings(call.arguments)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
    elif value is not None:
        yield str(value)


Cell = tuple[bool, str, str, str]


@dataclass
class Score:
    """How many were planted and how many can still be read, by (held out, group, kind, encoding)."""

    planted: Counter[Cell] = field(default_factory=Counter)
    missed: Counter[Cell] = field(default_factory=Counter)
    misses: list[tuple[Session, Plant]] = field(default_factory=list)

    def judge(self, session: Session, messages: Sequence[object]) -> None:
        """`messages` is what became of the session's, in order."""
        wanted = Wanted()
        for at, plant in enumerate(session.plants):
            self.planted[plant.held_out, plant.group, plant.kind, plant.encoding] += 1
            for secret in plant.secrets:
                wanted.add(at, secret, plant.needs_whole)
        found = wanted.found_in(text for message in messages for text in texts_of(message))
        found |= _read_by_joining(session, messages)
        for at in sorted(found):
            plant = session.plants[at]
            self.missed[plant.held_out, plant.group, plant.kind, plant.encoding] += 1
            self.misses.append((session, plant))

    def count(
        self,
        held_out: bool | None = None,
        group: str | None = None,
        kind: str | None = None,
        encoding: str | None = None,
    ) -> tuple[int, int]:
        """(missed, planted) of the plants that fit."""
        wanted = (held_out, group, kind, encoding)

        def fitting(counts: Counter[Cell]) -> int:
            pairs = ((zip(wanted, key, strict=True), n) for key, n in counts.items())
            return sum(n for pair, n in pairs if all(w is None or w == k for w, k in pair))

        return fitting(self.missed), fitting(self.planted)

    def recall(
        self,
        held_out: bool | None = None,
        group: str | None = None,
        kind: str | None = None,
        encoding: str | None = None,
    ) -> float:
        """The share that can no longer be read; 1 where nothing was planted."""
        missed, planted = self.count(held_out, group, kind, encoding)
        return 1 - missed / planted if planted else 1.0
