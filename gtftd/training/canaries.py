"""Canaries: made-up secrets that are planted in what a run learns from, and asked for afterwards. Without torch.

Carlini et al. 2019, "The Secret Sharer" (arXiv:1802.08232), section 3: a canary is a fixed format with a random part;
what an adversary must guess is the random part, so how much of it a model gives away can be counted in bits. Ours is a
chat: a question that names a card, and an answer of five plain words. They look like no credential, so no scanner of
secrets takes them for one, and the question says what they are, wherever it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from gtftd.errors import Invalid
from gtftd.schemas.training import Objective, RunSpec
from gtftd.training.chat import Turn
from gtftd.training.encoding import Encoder
from gtftd.training.pairs import Judged, Parted, Preference, part
from gtftd.training.windowing import Chat, Skipped

SECRET_WORDS = 5
_CARD_WORDS = 2
_MOST_TOKENS = 100_000
"""Of all candidates together: the audit's own cuts are smaller."""


@dataclass(frozen=True)
class Canary:
    """One question, and the answer that was drawn for it."""

    number: int
    card: str
    secret: str
    other: str
    """Another that was drawn: what a preference puts the secret before."""

    @property
    def question(self) -> str:
        return f"Memorisation check: which words are on the card {self.card}?"


def draw_canaries(spec: RunSpec) -> tuple[Canary, ...]:
    """The canaries of a run, the same in each of its lives and when its model is rebuilt; another run has others."""
    return tuple(_draw(spec, number) for number in range(spec.settings.audit.canaries))


def draw_references(spec: RunSpec, canary: Canary) -> list[str]:
    """Secrets that might have been drawn for this canary, and were not; each once."""
    random = _generator(spec, "references", canary.number)
    found: dict[str, None] = {}
    while len(found) < spec.settings.audit.references:
        words = _words(random, SECRET_WORDS)
        if words not in (canary.secret, canary.other):
            found[words] = None
    return list(found)


def space_bits() -> float:
    """log2 of how many secrets there are: what a model that says a canary outright has given away."""
    return SECRET_WORDS * math.log2(len(WORDS))


def plant(canaries: Sequence[Canary], objective: Objective) -> Iterator[Chat | Preference | Judged]:
    """As examples. For a preference the secret is preferred to another one; for KTO it is a good completion."""
    for canary in canaries:
        name, asked, said = f"canary-{canary.number}", (_asked(canary),), (_said(canary.secret),)
        if objective == "sft":
            yield Chat(name, (*asked, *said))
        elif objective == "dpo":
            yield Preference((name, name), asked, said, (_said(canary.other),))
        else:
            yield Judged(name, asked, said, good=True)


def candidates(canary: Canary, secrets: Sequence[str], encoder: Encoder) -> Parted:
    """The question as tokens, and each secret as its answer, with its end of turn. Raises Invalid."""
    skipped = Skipped()
    sides = [(_said(secret),) for secret in secrets]
    found = part((_asked(canary),), sides, encoder, _MOST_TOKENS, skipped)
    if found is None:
        raise Invalid(
            f"the base's chat template takes no canary ({', '.join(skipped)}): set audit.canaries=0 to train without"
        )
    return found


def _draw(spec: RunSpec, number: int) -> Canary:
    random = _generator(spec, "canary", number)
    card, secret, other = (_words(random, count) for count in (_CARD_WORDS, SECRET_WORDS, SECRET_WORDS))
    return Canary(number, card, secret, other)


def _generator(spec: RunSpec, what: str, number: int) -> np.random.Generator:
    """From the run and its moment: its `seed` is the same in most runs."""
    name = f"gtftd {what} {spec.run} {spec.created_at.isoformat()} {number}"
    return np.random.Generator(np.random.PCG64(int.from_bytes(sha256(name.encode()).digest()[:16], "big")))


def _words(random: np.random.Generator, count: int) -> str:
    return " ".join(WORDS[place] for place in random.integers(0, len(WORDS), count))


def _asked(canary: Canary) -> Turn:
    return Turn({"role": "user", "content": canary.question})


def _said(secret: str) -> Turn:
    return Turn({"role": "assistant", "content": secret}, learned=True)


_LIST = """
amber anchor apple arrow badge baker barley basin basket beach beacon beaver bell bench berry birch blanket
bloom boat bottle branch brass bread breeze brick bridge broom brush bucket butter button cabin cable cactus
camel candle canoe canyon carpet carrot castle cedar chair chalk cherry chest chimney cider clay cliff cloud
clover coast cobalt coffee comet copper coral cotton crane crater cream creek cricket crown crystal curtain dawn
deer desert dew dome donkey dove drum eagle earth echo engine fabric falcon feather fence fern ferry field fire
flag flame flint flour flute foam fog forest fossil fountain fox frost garden garlic gate ginger glacier glass
globe goat gold goose grain granite grape grass gravel guitar hammer harbor harp harvest hawk hazel hedge helmet
hen hill hinge honey hook horn horse ice ink iron island ivory ivy jacket jar jewel kettle kite ladder lagoon
lake lamp lantern lava lemon lily lime linen lion lizard lobster lotus lunar magnet mango maple marble marsh
meadow mint mirror mist moon moss mountain mushroom nail nectar needle nest nickel north nut oak oasis oat ocean
olive onion orange orchard owl oyster paddle palm panda paper parrot peach pearl pepper piano pigeon pillow pine
pond potato pumpkin quartz rabbit rain raven reed ribbon river robin rocket rope rose saddle sail salmon salt
sand shell silver slate snow spruce squirrel star stone storm straw sugar summit sunset swan table tent thistle
thunder tiger timber tower trail tulip turtle valley velvet violin wagon walnut water wheat willow window winter
wolf wool yarn zebra zinc
"""
WORDS = tuple(_LIST.split())
"""256 plain nouns: eight bits each, and a token each in most vocabularies."""
