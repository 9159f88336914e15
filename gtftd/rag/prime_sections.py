"""The parts of a short prime that tell of the town: the work, what changed, who is near, how the rig stands."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from gtftd.errors import NotReady
from gtftd.rag.fence import Provenance, neutral_line
from gtftd.rag.packing import Item, choose
from gtftd.rag.picture import Brief
from gtftd.rag.prime_formula import Attached
from gtftd.rag.prime_view import (
    RIG_ROLES,
    View,
    Work,
    about_bead,
    about_beads,
    about_chunk,
    fenced,
    fenced_list,
    id_of,
    title_of,
)
from gtftd.rag.stored import StoredChunk
from gtftd.schemas.rag import BeadCard, Hit, SearchQuery

AT_WORK = ("hooked", "in_progress")
OVERSEERS = frozenset({"witness", "refinery", "deacon", "mayor", "boot", "crew"})
MOST_LINKS = 24
_MERGE = "merge-request"
_NO_WORK = frozenset({"agent", "role", "rig", "message", "event", "slot", "queue", _MERGE})
"""Types that are nobody's task."""
_DULL = re.compile(r"(?:created|started|owner|created_by|estimated_minutes|spec_id|external_ref|status|assignee): ")
_META = re.compile(
    r"^(?:attached_(?:molecule|formula|at)|dispatched_by|convoy_(?:id|owned|created_at)):[^\n]*\n?", re.MULTILINE
)
_HITS = 12
_ASKED = 1500
"""Characters of the bead that are searched with."""
_HIT_TOKENS = 260
_LEAST = 60
"""Fewer tokens than this are not worth a fence."""


def find_work(view: View) -> Work:
    """The bead that was named, else what is on the actor's hook.

    Raises NotReady for a bead that is not there, or not this agent's to see, and for a polecat without one: then
    nobody knows what its work is.
    """
    hooked = view.picture.on_hook(view.actor) if view.actor else ()
    mine = [one for one in hooked if one.bead and view.may_see(one.rig) and one.bead.status in AT_WORK]
    if view.params.bead:
        found = view.bead(view.params.bead)
        if found is None:
            raise NotReady(f"bead {id_of(view.params.bead)!r} is not in the index of what this agent may see")
    else:
        found = next((one for one in mine if one.bead and one.bead.issue_type not in _NO_WORK), None)
        if found is None and view.actor and view.who.role == "polecat":
            raise NotReady(f"no bead is known on the hook of {id_of(view.actor)}: a sling may be newer than the index")
    others = [one.bead.bead for one in mine if one.bead and found is not None and one.id != found.id]
    return Work(found, tuple(others))


def tell_bead(view: View, work: Work, limit: int) -> str:
    document, card = work.document, work.card
    if document is None or card is None:
        return "## Your work\nNothing is on your hook as far as is known here; `gt hook` tells for sure."
    view.shown.add(document.id)
    head = f"## Your bead: {id_of(card.bead)} ({id_of(card.status, 20)})"
    if work.also:
        head += f"; also on your hook: {', '.join(id_of(bead) for bead in work.also[:8])}"
    chunks = view.chunks(document.id)
    text = "\n\n".join(_of_bead(chunks))
    about = about_bead(document, chunks[0].id if chunks else "")
    room = limit - view.counter.count(f"{head}\n")
    return _joined(head, fenced(view, text, about, room, f"`bd show {id_of(card.bead)}`", kind="work-order"))


def tell_changed(view: View, formula: Attached | None, limit: int) -> str:
    """What instructs this agent and was first said after the training, the newest first; what holds no more."""
    since = view.params.trained_at
    if since is None:
        return ""
    role, rig = view.params.role, view.rig
    fresh = [one for one in view.picture.instructions_since(since, rig, role) if view.may_see(one.rig)]
    if formula is not None:  # those may be too many to be told of all
        fresh = [one for one in fresh if one.document != formula.document]
        fresh += [one for one in view.chunks(formula.document) if one.first_seen > since]
    gone = [one for one in view.picture.instructions_gone_since(since, rig, role) if view.may_see(one.rig)]
    gone = _without_replaced(gone, fresh)
    if not fresh and not gone:
        return ""
    fresh.sort(key=lambda one: (one.document, one.ordinal))
    head = f"## Changed since your training ({since:%Y-%m-%d})"
    room = limit - view.counter.count(f"{head}\n")
    lost = _tell_gone(view, gone, room // 3)
    told, names = _tell_fresh(view, fresh, formula, room - view.counter.count(lost) - 40)
    more = f"Changed too: {', '.join(names)}." if names else ""
    parts = [*told, lost, more]
    while view.counter.count("\n".join(filter(None, [head, *parts]))) > limit and any(parts):
        parts.remove(next(part for part in reversed(parts) if part))
    return _joined(head, *parts)


def tell_neighbours(view: View, work: Work, limit: int) -> str:
    if work.card is None or work.document is None:
        return ""
    lines = list(_links(view, work.card))
    if not lines:
        return ""
    head = "## Beads near it"
    room = limit - view.counter.count(f"{head}\n")
    about = about_beads(work.document.rig, None, f"around {work.card.bead}")
    return _joined(head, fenced_list(view, lines, about, room, f"`bd show {id_of(work.card.bead)}`"))


def tell_state(view: View, work: Work, limit: int) -> str:
    """How the rig (or the town) stands, for those who watch over it or work through it."""
    if view.params.role not in OVERSEERS:
        return ""
    beads = [one for one in view.living if one.issue_type not in _NO_WORK or one.issue_type == _MERGE]
    tasks = [one for one in beads if one.issue_type != _MERGE]
    counts = Tally(one.status for one in tasks)
    counted = ", ".join(f"{number} {id_of(status, 20)}" for status, number in counts.most_common(8))
    head = f"## State of {'rig ' + id_of(view.rig) if view.rig else 'the town'}: {counted or 'no bead is open'}"
    lines = list(_state_lines(view, beads, work))
    room = limit - view.counter.count(f"{head}\n")
    newest = max((one.updated_at for one in beads), default=None)
    told = fenced_list(view, lines, about_beads(view.rig, newest, "list"), room, "`bd list`, `bd blocked`")
    return _joined(head, told) or (head if room > 0 else "")


def tell_handoff(view: View, limit: int) -> str:
    """The pinned bead in which the role before left its notes."""
    names = {view.params.role, *([view.who.name.lower()] if view.who.name else [])}
    wanted = {f"{name} handoff" for name in names}
    own = view.rig if view.params.role in RIG_ROLES else None
    for brief in view.living:
        if brief.status == "pinned" and brief.rig == own and title_of(brief.title, brief.bead).lower() in wanted:
            document = view.bead(brief.bead)
            if document is None or document.id in view.shown:
                continue
            view.shown.add(document.id)
            chunks = view.chunks(document.id)
            about = about_bead(document, chunks[0].id if chunks else "")
            text = "\n\n".join(_of_bead(chunks))
            return _joined("## Handoff", fenced(view, text, about, limit - 6, f"`bd show {id_of(brief.bead)}`"))
    return ""


def tell_found(view: View, work: Work, limit: int) -> str:
    """What the index finds for the work: as much worth as fits."""
    text = _asked(view, work)
    if not text or limit < _LEAST:
        return ""
    asked = SearchQuery(text=text, rig=view.rig, roles=(view.params.role,), limit=_HITS)
    head = "## Perhaps of use"
    room = limit - view.counter.count(f"{head}\n")
    told = {}
    items = []
    for hit in view.picture.search(asked).hits:
        if hit.document in view.shown or not view.may_see(hit.rig) or _was_learned(view, hit):
            continue
        block = fenced(view, _of_hit(hit), _about_hit(hit), min(room, _HIT_TOKENS), _where(hit.document))
        if block and hit.chunk not in told:
            told[hit.chunk] = block
            items.append(Item(hit.chunk, max(hit.score, 1e-6), view.counter.count(f"{block}\n")))
    return _joined(head, *(told[item.key] for item in choose(items, room)))


def _of_bead(chunks: Sequence[StoredChunk]) -> Iterator[str]:
    """What the bead asks for and what was said of it; its history is not for a prime."""
    for heading, same in groupby((chunk for chunk in chunks if chunk.heading != "History"), lambda one: one.heading):
        text = "\n\n".join(chunk.text for chunk in same)
        if heading in {"", "Description"}:
            yield _without_dull(text) if heading == "" else text
        else:
            yield f"[{heading}]\n{text}"


def _without_dull(text: str) -> str:
    """Without fields that tell a worker nothing, or that stand above."""
    text = _META.sub("", text)
    fields, gap, rest = text.partition("\n\n")
    head, between, below = rest.partition("\n\n")
    if fields.startswith("# ") and "\n" not in fields:
        kept = "\n".join(line for line in head.split("\n") if not _DULL.match(line))
        return "\n".join(filter(None, (fields, kept))) + (f"{gap}{below}" if between else "")
    return text


def _tell_fresh(
    view: View, fresh: Sequence[StoredChunk], formula: Attached | None, limit: int
) -> tuple[list[str], list[str]]:
    """Documents whose changes fit, and the names of those that don't, or that only touch others' formulas."""
    newest = {one.document: max(o.first_seen for o in fresh if o.document == one.document) for one in fresh}
    told, names, said = [], [], set()
    for document in sorted(newest, key=lambda id_: (-newest[id_].timestamp(), id_)):
        chunks = [one for one in fresh if one.document == document and one.text not in said]
        mine = chunks and (chunks[0].collection != "formulas" or (formula and formula.document == document))
        block = ""
        if mine and limit >= _LEAST:
            text = "\n\n".join(f"[{one.heading}]\n{one.text}" if one.heading else one.text for one in chunks)
            block = fenced(view, text, about_chunk(chunks[0]), limit, _where(document), kind="instructions")
        if block:
            told.append(block)
            limit -= view.counter.count(f"{block}\n")
            said |= {one.text for one in chunks}
        elif chunks:
            names.append(id_of(document.removeprefix("file:").rsplit("/", 1)[-1], 60))
    return told, [*names[:6], f"{len(names) - 6} more"] if len(names) > 6 else names


def _without_replaced(gone: Iterable[StoredChunk], fresh: Sequence[StoredChunk]) -> list[StoredChunk]:
    """What took the place of something under the same heading is told as new; that is enough."""
    places = {(one.document, one.heading) for one in fresh}
    return [one for one in gone if (one.document, one.heading) not in places]


def _tell_gone(view: View, gone: Sequence[StoredChunk], limit: int) -> str:
    if not gone or limit < _LEAST:
        return ""
    lines = []
    for one in gone:
        where = [one.document.removeprefix("file:"), *one.heading.split(" > ")]
        where_line = neutral_line(", ".join(filter(None, where)), 140)
        lines.append(f"- no longer said in {where_line}: {neutral_line(one.first_line, 140)}")
    about = Provenance(gone[0].collection, "what instructions said once", view.rig, gone[0].gone_at)
    return fenced_list(view, lines, about, limit, "`gt prime`")


def _links(view: View, card: BeadCard) -> Iterator[str]:
    groups = [("parent", [card.parent] if card.parent else []), ("needs", card.needs), ("needed by", card.needed_by)]
    seen: set[str] = {card.bead}
    for how, beads in [*groups, ("related", card.related)]:
        for bead in beads[:MOST_LINKS]:
            if bead not in seen:
                seen.add(bead)
                yield f"{how}: {_in_a_line(view, bead)}"


def _in_a_line(view: View, bead: str) -> str:
    """Of another rig's bead nothing but its id."""
    found = view.bead(bead)
    if found is None or found.bead is None:
        return id_of(bead)
    view.shown.add(found.id)
    return f"{id_of(bead)} [{neutral_line(found.bead.status, 20)}] {title_of(found.title, bead)}"


def _state_lines(view: View, beads: Sequence[Brief], work: Work) -> Iterator[str]:
    queue = [one for one in beads if one.issue_type == _MERGE]
    at_work = [one for one in beads if one.status in AT_WORK and one.issue_type != _MERGE]
    open_ids = {one.bead for one in beads}
    waiting = [
        one for one in beads
        if one.issue_type != _MERGE and (one.status == "blocked" or (one.status == "open" and open_ids & {*one.needs}))
    ]  # fmt: skip
    own = work.card.bead if work.card else None
    for name, group in (("merge queue", queue), ("at work", at_work), ("waits", waiting)):
        for one in group:
            if one.bead != own:
                whose = f" {neutral_line(one.assignee, 60)}" if one.assignee and name != "waits" else ""
                status, title = neutral_line(one.status, 20), title_of(one.title, one.bead, 60)
                yield f"{name}: {id_of(one.bead)} [{status}]{whose} {title}"


def _asked(view: View, work: Work) -> str:
    """What the bead asks for, without its id: that would find the bead itself."""
    if work.document is None or work.card is None:
        return ""
    said = "\n".join(_of_bead(view.chunks(work.document.id)))
    _, _, below = said.partition("\n\n")
    title = work.document.title.removeprefix(f"{work.card.bead}:")
    return f"{title}\n{below}"[:_ASKED].replace("\0", " ").strip()


def _was_learned(view: View, hit: Hit) -> bool:
    """The model has seen these instructions."""
    since = view.params.trained_at
    return hit.collection in {"configs", "formulas"} and since is not None and hit.updated_at <= since


def _of_hit(hit: Hit) -> str:
    return f"[{hit.heading}]\n{hit.text}" if hit.heading else hit.text


def _about_hit(hit: Hit) -> Provenance:
    source = hit.document.rsplit("/", 1)[-1] if hit.collection == "beads" else hit.document.removeprefix("file:")
    return Provenance(hit.collection, source, hit.rig, hit.updated_at, hit.chunk)


def _where(document: str) -> str:
    """How the rest of a document is read."""
    kind, _, rest = document.partition(":")
    if kind == "bead":
        return f"`bd show {id_of(rest.rsplit('/', 1)[-1])}`"
    return f"`{id_of(rest, 120)}`" if kind == "file" else "`gt prime`"


def _joined(head: str, *parts: str) -> str:
    """A section with nothing in it is none."""
    kept = [part for part in parts if part]
    return "\n".join((head, *kept)) if kept else ""
