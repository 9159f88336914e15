"""The short prime: what an agent whose model has learned the manual needs at the start of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from gtftd.errors import NotReady
from gtftd.rag import prime_sections as tell
from gtftd.rag.fence import RULE
from gtftd.rag.packing import cut
from gtftd.rag.picture import TownPicture
from gtftd.rag.prime_formula import find_formula, tell_formula
from gtftd.rag.prime_view import View, id_of
from gtftd.rag.tokens import load_counter
from gtftd.schemas.rag import PrimeParams, PrimeResult, PrimeSection

__all__ = ["TownPicture", "build_prime", "role_card"]

FIRST_LINE = "# Reduced prime: fine-tuned model active for role {role}"
_SEPARATOR = "\n\n"
_SLACK = 8
"""Tokens that two sections may take more together than alone."""


@dataclass(frozen=True)
class Share:
    """What a section may take, of 1,500 tokens: `least` whatever the others took, `most` where there is room."""

    least: int
    most: int


SHARES = {
    "bead": Share(1000, 1000),
    "formula": Share(260, 500),
    "changed": Share(300, 600),
    "neighbours": Share(120, 240),
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
        shown = cut(card, room, self.view.counter, "`gt prime`")
        if self.spent > most or not shown.text:
            raise NotReady(f"{most} tokens hold no prime; set prime.most_tokens higher")
        self._put("role", f"{head}{shown.whole}")

    def add(self, name: str, make: Callable[[int], str]) -> None:
        """The section within its share and what is left."""
        params, share = self.view.params, SHARES[name]
        scale = params.target_tokens / 1500
        wanted = min(share.most * scale, params.target_tokens - self.spent - _SLACK)
        limit = int(min(max(share.least * scale, wanted), params.most_tokens - self.spent - _SLACK))
        if limit > _SLACK and (text := make(limit)):
            self._put(name, text)

    def result(self) -> PrimeResult:
        """Whatever was made, within the hard limit: sections give way from the last."""
        while True:
            text = _SEPARATOR.join(text for _, text in self.sections) + "\n"
            tokens = self.view.counter.count(text)
            if tokens <= self.view.params.most_tokens:
                break
            if len(self.sections) <= 1:
                raise NotReady(f"{self.view.params.most_tokens} tokens hold no prime; set prime.most_tokens higher")
            self.sections.pop()
        counted = (PrimeSection(name=name, tokens=self.view.counter.count(text)) for name, text in self.sections)
        return PrimeResult(text=text, tokens=tokens, counted_by=self.view.counter.name, sections=tuple(counted))

    def _put(self, name: str, text: str) -> None:
        self.sections.append((name, text))
        self.spent += self.view.counter.count(f"{text}{_SEPARATOR}")


def _identity(view: View) -> str:
    name = id_of(view.actor or f"{view.rig or 'the'}/{view.who.role}", 120)
    where = f" of rig {id_of(view.rig)}" if view.rig else " of the town"
    return (
        f"You are `{name}`, {view.who.role}{where}. The whole manual: `gt prime`. A bead: `bd show ID`."
        ' Anything the town says: `gtftctl rag search "words"`.'
    )
