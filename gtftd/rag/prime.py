"""The short prime: what an agent whose model has learned the manual needs at the start of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from gtftd.errors import NotReady
from gtftd.rag import prime_sections as tell
from gtftd.rag.fence import RULE
from gtftd.rag.picture import TownPicture
from gtftd.rag.prime_formula import find_formula, tell_formula
from gtftd.rag.prime_view import View, id_of
from gtftd.rag.tokens import load_counter
from gtftd.schemas.rag import PrimeParams, PrimeResult, PrimeSection

__all__ = ["TownPicture", "build_prime", "role_card"]

FIRST_LINE = "# Reduced prime: fine-tuned model active for role {role}"
_MUST = ["head", "identity", "role", "bead"]
"""Without all of these it is no prime."""
_SEPARATOR = "\n\n"
_SLACK = 8
"""Tokens that two sections may take more together than alone."""


@dataclass(frozen=True)
class Share:
    """What a section may take: `least` of 3,000 tokens at most whatever the others took, `most` of 1,500 tokens aimed
    at where there is room.
    """

    least: int
    most: int


SHARES = {
    "bead": Share(1000, 1000),
    "formula": Share(450, 600),
    "changed": Share(300, 600),
    "neighbours": Share(200, 300),
    "state": Share(160, 300),
    "handoff": Share(120, 240),
    "found": Share(0, 600),
}


def build_prime(picture: TownPicture, params: PrimeParams) -> PrimeResult:
    """Never more than `most_tokens`, and about `target_tokens` where the work itself is not longer.

    Raises NotReady where there is any doubt what this agent should be told: the full prime is right then. Missing or
    Invalid for a tokenizer that cannot be loaded.
    """
    view = View(picture, params, load_counter(params.tokenizer))
    if view.who.role != params.role or picture.is_empty():
        raise NotReady("the index holds nothing yet; it is fed when the daemon starts")
    made = _Made(view)
    made.begin()
    work = tell.find_work(view)
    formula = find_formula(view, work)
    made.add("bead", lambda limit: tell.tell_bead(view, work, limit))
    if formula is not None:
        made.add("formula", lambda limit: tell_formula(view, work, formula, limit))
        view.shown.add(formula.document)
    made.add("changed", lambda limit: tell.tell_changed(view, formula, limit))
    made.add("neighbours", lambda limit: tell.tell_neighbours(view, work, limit))
    made.add("state", lambda limit: tell.tell_state(view, work, limit))
    made.add("handoff", lambda limit: tell.tell_handoff(view, limit))
    made.add("found", lambda limit: tell.tell_found(view, work, limit))
    return made.result()


@lru_cache(maxsize=16)
def role_card(role: str) -> str:
    """The start of the role and what it must never do, in a few lines."""
    folder = resources.files("gtftd.rag") / "files" / "roles"
    own = (folder / f"{role}.md").read_text(encoding="utf-8")
    return own.strip() + "\n" + (folder / "common.md").read_text(encoding="utf-8").strip()


@dataclass
class _Made:
    """Sections as they are made, and what they take."""

    view: View
    sections: list[tuple[str, str]] = field(default_factory=list)
    spent: int = 0

    def begin(self) -> None:
        """What is told whatever the town holds. Raises NotReady when not even that fits."""
        role, rig = self.view.who.role, self.view.rig
        most = self.view.params.most_tokens
        self._put("head", f"{FIRST_LINE.format(role=role)}\n{RULE}")
        self._put("identity", _identity(self.view))
        card = role_card(role).replace("{rig}", id_of(rig or "RIG"))
        head = "## Your role\n"
        room = most - self.spent - self.view.counter.count(head) - _SLACK
        if self.view.counter.count(card) > room:
            raise self._too_little()
        self._put("role", f"{head}{card}")

    def add(self, name: str, make: Callable[[int], str]) -> None:
        """The section within its share and what is left."""
        params, share = self.view.params, SHARES[name]
        wanted = min(share.most * params.target_tokens / 1500, params.target_tokens - self.spent - _SLACK)
        least = share.least * params.most_tokens / 3000
        limit = int(min(max(least, wanted), params.most_tokens - self.spent - _SLACK))
        if limit > _SLACK and (text := make(limit)):
            self._put(name, text)

    def result(self) -> PrimeResult:
        """Whatever was made, within the hard limit: sections give way from the last."""
        while True:
            text = _SEPARATOR.join(text for _, text in self.sections) + "\n"
            tokens = self.view.counter.count(text)
            if tokens <= self.view.params.most_tokens:
                break
            self.sections.pop()
        if [name for name, _ in self.sections[: len(_MUST)]] != _MUST:
            raise self._too_little()
        counted = (PrimeSection(name=name, tokens=self.view.counter.count(text)) for name, text in self.sections)
        return PrimeResult(text=text, tokens=tokens, counted_by=self.view.counter.name, sections=tuple(counted))

    def _too_little(self) -> NotReady:
        return NotReady(f"{self.view.params.most_tokens} tokens hold no prime; set prime.most_tokens higher")

    def _put(self, name: str, text: str) -> None:
        self.sections.append((name, text))
        self.spent += self.view.counter.count(f"{text}{_SEPARATOR}")


def _identity(view: View) -> str:
    name = id_of(view.actor or f"{view.rig or 'the'}/{view.who.role}", 120)
    where = f" of rig {id_of(view.rig)}" if view.rig else " of the town"
    return (
        f"You are `{name}`, {view.who.role}{where}. This is your prime; the whole manual, if you miss"
        " something: `gt prime`. A bead: `bd show ID`."
        ' Anything the town says: `gtftctl rag search "words"`.'
    )
