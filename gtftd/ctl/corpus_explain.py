"""gtftctl corpus explain: where each line of an entry came from, why it is labelled so, and why it is in or out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gtftd.ctl import show
from gtftd.ctl.corpus_listing import EntryId, look_up, read_entry
from gtftd.ctl.target import Json, Target

if TYPE_CHECKING:
    from gtftd.schemas.corpus import Entry
    from gtftd.schemas.corpus_views import ExplainResult, TurnExplained

Rows = Iterator[tuple[str, str]]
_INDENT = 10


def explain(target: Target, entry_id: EntryId, *, as_json: Json = False) -> None:
    """Where each line came from, why the label, what was masked and redacted, and which snapshots have it."""
    from gtftd.ctl.corpus_origins import explain_entry

    row = look_up(target, entry_id, as_json=as_json)
    if row is None:
        return
    entry = read_entry(target, row)
    found = explain_entry(target.state_dir, row, entry)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    for line in draw(found, entry):
        show.print_line(line)


def draw(found: ExplainResult, entry: Entry) -> Iterator[str]:
    """As lines; a name stands before the first line that it is about."""
    from gtftd.ctl.page import name_of, who

    name = name_of(entry)
    title = f"  {entry.title}" if entry.title and entry.title != name else ""
    yield show.clean(f"{name}{title}  ({who(entry.actor, entry.rig, entry.role)})")
    yield f"entry {found.entry_id} of the kind {found.kind}"
    for parts in (_origin(found, entry), _label(found), _turns(found), _scrubbed(found), _stale(found), _where(found)):
        yield ""
        name = ""
        for heading, text in parts:
            yield f"{heading if heading != name else '':{_INDENT}}  {show.clean(text)}"
            name = heading


def _origin(found: ExplainResult, entry: Entry) -> Rows:
    from gtftd.ctl.page import span

    yield "from", f"{found.origin} ({found.source})"
    if found.transcript:
        yield "from", f"{found.transcript}{_line_range(found.turns)}"
    elif found.kind == "session":
        yield "from", "the transcript is gone; the entry is all that is left"
    if entry.started_at or entry.ended_at:
        yield "from", span(entry.started_at, entry.ended_at)
    if found.cut:
        yield "cut", found.cut
    if found.told_by:
        yield "told by", found.told_by
    if found.git_head:
        yield "git head", found.git_head
    if (told := found.conventions) is not None:
        hashes = (("instructions", told.instructions), ("formulas", told.formulas), ("gt", told.gt_version))
        yield "in force", ", ".join(f"{name} {value[:12]}" for name, value in hashes if value) or "nothing on record"


def _line_range(turns: Iterable[TurnExplained]) -> str:
    lines = [turn.line for turn in turns if turn.line is not None]
    return f", lines {min(lines):,} to {max(lines):,}" if lines else ""


def _label(found: ExplainResult) -> Rows:
    from gtftd.ctl.page import fact_text

    yield "label", f"{found.label}, {found.confidence:.2f} sure"
    for fact in found.facts:
        yield "because", fact_text(fact)
    if not found.facts:
        yield "because", "nobody works on a document" if found.label == "collected" else "nothing is on record"
    if found.failures:
        yield "failures", ", ".join(found.failures)


def _turns(found: ExplainResult) -> Rows:
    """Every turn that is trained on in one line, then each that is not, with the reason."""
    own = [turn for turn in found.turns if turn.trainable]
    yield "learned", f"{show.count(len(own), 'turn')} of {show.count(len(found.turns), 'message')}"
    for turn in found.turns:
        place = f"message {turn.message}" + (f", line {turn.line:,}" if turn.line else "")
        broken = "".join(f", broke {rule}" for rule in turn.violations)
        if turn.masked:
            yield "not", f"{place}: {turn.masked.replace('_', ' ')}{broken}"
        elif broken:
            yield "learned", f"{place}{broken}"


def _scrubbed(found: ExplainResult) -> Rows:
    from gtftd.ctl.page import counts

    audited = f", audited by {found.audited}" if found.audited and found.audited != found.scrubber else ""
    yield "redacted", f"{counts(found.redactions)}; scrubber {found.scrubber}{audited}"
    for doubt in found.doubts:
        verdict = doubt.verdict or f"open, see `gtftctl corpus review show {doubt.digest[:12]}`"
        yield "doubt", f"{doubt.placeholder} in message {doubt.message}, by the rule {doubt.rule}: {verdict}"


def _stale(found: ExplainResult) -> Rows:
    for use in found.stale:
        since = f" since {use.since[:10]}" if use.since else ""
        yield "stale", f"message {use.message} runs {use.command}, gone{since}; now: {use.replacement}"
    if not found.stale:
        yield "stale", "no command that the conventions have left behind"


def _where(found: ExplainResult) -> Rows:
    for told in found.snapshots:
        state = f"in as {told.reason}" if told.is_in else f"out, {told.reason.replace('_', ' ')}"
        tainted = " (tainted)" if told.tainted else ""
        yield "snapshots", f"{told.snapshot[:12]}{tainted}  {state}: {told.why}"
    if not found.snapshots:
        yield "snapshots", "there is none that knows of it"
