"""What the sample town's agents are asked to do: small coding tasks, varied by chance."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass

from gtftd.sampletown.files import read_text

_NAMES = ("Gannet", "Curlew", "Petrel", "Skua", "Dunlin", "Avocet", "Plover", "Turnstone", "Whimbrel", "Fulmar")


@dataclass(frozen=True)
class Task:
    """One task with what working on it shows: the place, the change, the test before and after."""

    title: str
    kind: str
    about: str
    file: str
    search: str
    before: str
    after: str
    test: str
    failure: str
    commit: str
    why: str


class TaskDeck:
    """Deals the tasks of one project in a shuffled order, again and again, each time with other numbers."""

    def __init__(self, project: str, rng: random.Random) -> None:
        self._cards: list[dict[str, str]] = tomllib.loads(read_text(f"tasks/{project}.toml"))["task"]
        self._rng = rng
        self._left: list[dict[str, str]] = []

    def deal(self) -> Task:
        if not self._left:
            self._left = self._cards[:]
            self._rng.shuffle(self._left)
        slots = {"%N%": str(self._rng.randrange(3, 60)), "%BOAT%": self._rng.choice(_NAMES)}
        slots["%ROW%"] = self._rng.choice("ABCDEFG") + str(self._rng.randrange(1, 40))
        return Task(**{key: _fill(text, slots) for key, text in self._left.pop().items()})


def _fill(text: str, slots: dict[str, str]) -> str:
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text
