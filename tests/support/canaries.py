"""Secrets planted in a living town, each unique, in every way in which text reaches the daemon; and where they lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal
from urllib.parse import quote

from tests.support.canary_search import MIN_CHARS
from tests.support.planted_contexts import Piece, render
from tests.support.planted_encodings import ENCODERS
from tests.support.planted_kinds import GENERIC, TYPED, Kind
from tests.support.planted_mint import whole

Group = Literal["typed", "generic", "known"]
PLAIN = ("plain",)
WRITTEN = (
    "plain",
    "json",
    "json-twice",
    "url",
    "base64",
    "hex",
    "chunks",
    "chunks-apart",
    "wrap",
    "wrap-boxed",
    "ansi",
)
"""How a tool's output may be written; these are the forms that the search knows, and those that a reader undoes."""
_GENERIC = tuple(kind for kind in GENERIC if kind.form == "keyed")
"""In key context: what only its own sentence gives away is measured elsewhere, by its share."""
_ONE_LINE_CHARS = 240


@dataclass(frozen=True)
class Canary:
    """One planted secret; `buoy` is a harmless word beside it that shows that the place was read, if any."""

    kind: str
    group: Group
    place: str
    encoding: str
    secrets: tuple[str, ...]
    buoy: str

    @property
    def told(self) -> str:
        return f"{self.place}: {self.kind} ({self.encoding})"


@dataclass
class Aviary:
    """Makes canaries; everything follows from the seed."""

    seed: int
    canaries: list[Canary] = field(default_factory=list)
    known: list[tuple[str, str]] = field(default_factory=list)
    """Names and values for the env files of the town; they are canaries where they are used."""

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        self._taken: set[str] = set()
        typed, generic = list(TYPED), list(_GENERIC)
        self._rng.shuffle(typed)
        self._rng.shuffle(generic)
        self._queues: dict[Group, list[Kind]] = {"typed": typed, "generic": generic, "known": []}
        self._turn = 0

    def text(self, place: str) -> str:
        """A few lines with a secret, as somebody wrote them."""
        return "\n".join(self.chunks(place))

    def line(self, place: str) -> str:
        """One short line with a secret."""
        return self._plant(place, "plain", lambda _, piece: _is_line(piece.text))[0].replace("\n", " ")

    def word(self, place: str) -> str:
        """A token that speaks for itself, fit for a label or for a file's name."""
        kind, piece = self._draw("typed", lambda kind, _: kind.form == "token" and _is_word(kind, self._rng))
        (value,) = (secret for secret in piece.secrets[:1])
        self._add(kind, place, "plain", piece, buoy="")
        return value

    def chunks(self, place: str, encodings: Sequence[str] = PLAIN) -> list[str]:
        """Like `text`, written in one of the ways; two chunks where the reader of a pipe cut it."""
        encoding = self._rng.choice(encodings)
        return self._plant(place, encoding, lambda _, piece: encoding == "plain" or len(piece.text) < 4000)

    def invent_known(self, count: int) -> list[tuple[str, str]]:
        """Values for an env file, with nothing in them that would give them away elsewhere."""
        made = []
        for number in range(count):
            kind, piece = self._draw("generic", lambda kind, piece: _fits_env_file(piece.secrets[0]))
            made.append((f"{kind.keys[0]}_{len(self.known) + number}", piece.secrets[0]))
        self.known += made
        return made

    def known_text(self, place: str, value: str, encodings: Sequence[str] = WRITTEN) -> list[str]:
        """A value of the town's env files, without its name."""
        encoding = self._rng.choice(encodings)
        piece = Piece(f"it answered {value} and went on", (value,), (value,), "tool", "bare")
        kind = Kind("known value", "known", "bare", lambda _: whole(value))
        return self._written(kind, place, encoding, piece)

    def _plant(self, place: str, encoding: str, fits: Callable[[Kind, Piece], bool]) -> list[str]:
        self._turn += 1
        kind, piece = self._draw("generic" if self._turn % 4 == 0 else "typed", fits)
        return self._written(kind, place, encoding, piece)

    def _written(self, kind: Kind, place: str, encoding: str, piece: Piece) -> list[str]:
        chunks = ENCODERS[encoding](self._rng, piece, bool(self._rng.getrandbits(1)))
        buoy = f"buoy{len(self.canaries):04d}"
        self._add(kind, place, encoding, piece, buoy)
        return [f"{buoy} {chunks[0]}" if _is_line(chunks[0]) else f"{buoy}\n{chunks[0]}", *chunks[1:]]

    def _draw(self, group: Group, fits: Callable[[Kind, Piece], bool]) -> tuple[Kind, Piece]:
        """The next kind in turn that fits, with a value that nobody had before."""
        queue = self._queues[group]
        while True:
            kind = queue.pop(0)
            queue.append(kind)
            piece = render(self._rng, kind, bool(self._rng.getrandbits(1)))
            is_new = not self._taken.intersection(piece.secrets)
            if is_new and min(map(len, piece.secrets)) >= MIN_CHARS and fits(kind, piece):
                self._taken.update(piece.secrets)
                return kind, piece

    def _add(self, kind: Kind, place: str, encoding: str, piece: Piece, buoy: str) -> None:
        group: Group = "known" if kind.group == "known" else "generic" if kind.group == "generic" else "typed"
        self.canaries.append(Canary(kind.name, group, place, encoding, piece.secrets, buoy))

    @property
    def secrets(self) -> dict[int, tuple[str, ...]]:
        """By number of the canary."""
        return {number: canary.secrets for number, canary in enumerate(self.canaries)}

    def by_place(self, numbers: Iterable[int]) -> Counter[str]:
        return Counter(self.canaries[number].place for number in numbers)


def env_file(values: Iterable[tuple[str, str]]) -> str:
    return "# made by hand\n" + "".join(f"{name}={value}\n" for name, value in values)


def git_credentials(values: Iterable[tuple[str, str]]) -> str:
    return "".join(f"https://robot:{quote(value, safe='')}@git.example.net\n" for _, value in values)


def json_line(**fields: object) -> str:
    return json.dumps(fields) + "\n"


def _is_line(text: str) -> bool:
    return "\n" not in text and len(text) <= _ONE_LINE_CHARS


def _is_word(kind: Kind, rng: Random) -> bool:
    return kind.name in {
        "github_token", "gitlab_token", "aws_key_id", "npm_token", "stripe_webhook", "huggingface_token", "linear_key",
        "supabase_token", "docker_pat", "postman_key", "figma_token", "replicate_token", "doppler_token",
    }  # fmt: skip


def _fits_env_file(value: str) -> bool:
    return MIN_CHARS + 2 <= len(value) <= 80 and not set(value) & set("\n\"'\\ #")
