"""gtftctl prime report: tokens with which each role begins, before and after, section by section."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target
from gtftd.errors import GtftdError, Invalid, Missing

if TYPE_CHECKING:
    from gtftd.town.role_prime import Piece

_TIMEOUT_S = 30.0
_RIG_ROLES = ("polecat", "crew", "witness", "refinery")
_PIPE = "|"


@dataclass(frozen=True)
class Line:
    """One part of a prime; `later`: read by the agent after it, on the prime's word."""

    source: str
    name: str
    tokens: int
    later: bool = False


@dataclass(frozen=True)
class RoleReport:
    """`after` is None where there is no short prime, and `why` says why."""

    role: str
    before: tuple[Line, ...]
    after: tuple[Line, ...] | None
    why: str = ""
    total_after: int | None = None
    counted_by: str = ""

    @property
    def total_before(self) -> int:
        return sum(line.tokens for line in self.before if not line.later)

    @property
    def total_later(self) -> int:
        return sum(line.tokens for line in self.before if line.later)

    @property
    def saved(self) -> str:
        if self.total_after is None or not self.total_before:
            return ""
        return f"{100 * (1 - self.total_after / self.total_before):.0f} %"


def report(
    target: Target,
    *,
    templates: Annotated[
        Path | None,
        typer.Option("--templates", metavar="DIR", exists=True, file_okay=False, help="A checkout of gt."),
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="Only this role.")] = None,
    rig: Annotated[str | None, typer.Option("--rig", help="The rig of the short primes; else the first.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="FILE", exists=True, help="A tokenizer.json that counts.")
    ] = None,
    trained_at: Annotated[
        datetime | None,
        typer.Option("--trained-at", formats=["%Y-%m-%d"], help="The training date to assume; else prime.trained_at."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page.")] = False,
    as_json: Json = False,
) -> None:
    """What each role begins with today, from gt's real templates, and with the short prime, counted in tokens.

    Before: DIR's role template, formula, town CLAUDE.md and PRIME.md; without DIR what `gtftctl corpus prime` caught.
    After: what the daemon makes now; without a daemon only the before is told.
    """
    from gtftd.settings import load_settings

    prime = load_settings(target.config).prime
    found = dict(_pieces(target, templates, role or []))
    texts = [piece.text for pieces in found.values() for piece in pieces]
    counted_by, counts = _count(tokenizer or prime.tokenizer, texts)
    rig, left = rig or _first_rig(target), iter(counts)
    reports = []
    for one, pieces in found.items():
        before = tuple(Line(piece.source, piece.name, next(left), piece.later) for piece in pieces)
        reports.append(_report(target, one, before, rig, prime.most_tokens, trained_at))
    if as_json:
        show.print_json(
            [{**asdict(one), "total_before": one.total_before, "counted_before_by": counted_by} for one in reports]
        )
    elif markdown:
        for text in _markdown(reports, counted_by):
            show.print_line(text)
    else:
        _print(reports, counted_by)


def _pieces(target: Target, templates: Path | None, roles: list[str]) -> Iterator[tuple[str, list[Piece]]]:
    """What each role is told today. Raises Missing when nothing says so."""
    if templates is not None:
        from gtftd.town.role_prime import role_prime, roles_in

        for role in _chosen(roles_in(templates), roles, f"{templates}"):
            yield role, list(role_prime(templates, role))
        return
    try:
        captured = dict(_captured(target))
    except Missing:  # no state: no daemon ever ran here
        captured = {}
    if not captured:
        raise Missing(
            "what gt tells today is not known: collect it with `gtftctl corpus prime`, "
            "or give --templates DIR, a checkout of gt"
        )
    for role in _chosen(sorted(captured), roles, "the corpus"):
        yield role, captured[role]


def _chosen(known: list[str], roles: list[str], place: str) -> list[str]:
    for role in roles:
        if role not in known:
            raise Missing(f"{place} says nothing of the role {role}; it has {', '.join(known)}")
    return roles or known


def _captured(target: Target) -> Iterator[tuple[str, list[Piece]]]:
    """The newest capture of each role, rigs alike."""
    from gtftd.control.listing import read_entries
    from gtftd.ctl.corpus_listing import read_entry
    from gtftd.schemas.corpus_views import EntriesParams
    from gtftd.town.role_prime import Piece
    from gtftd.town.role_template import split

    seen: set[str] = set()
    for row in read_entries(target.state_dir, EntriesParams(kind="prime", limit=10_000)).entries:
        if row.role and row.role not in seen:
            seen.add(row.role)
            text = "\n".join(message.content for message in read_entry(target, row).messages)
            yield row.role, [Piece("gt prime", part.heading, part.text) for part in split(text)]


def _count(tokenizer: Path | None, texts: list[str]) -> tuple[str, list[int]]:
    """By what, and the tokens of each text; tokenizers live in a process of their own."""
    import subprocess

    asked = json.dumps({"tokenizer": str(tokenizer) if tokenizer else None, "texts": texts})
    command = [sys.executable, "-P", "-m", "gtftd.programs.counting"]
    told = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise Invalid(told.stderr.strip() or f"counting tokens ended with {told.returncode}")
    answer = json.loads(told.stdout)
    return answer["name"], answer["counts"]


def _report(
    target: Target, role: str, before: tuple[Line, ...], rig: str | None, most_tokens: int, trained_at: datetime | None
) -> RoleReport:
    from gtftd.ctl.prime_ask import read_answer

    try:
        client = target.client(timeout_s=_TIMEOUT_S)
        since = trained_at.replace(tzinfo=UTC).isoformat() if trained_at else None
        answer = client.call("prime", role=role, rig=rig if role in _RIG_ROLES else None, trained_at=since)
        reduced = read_answer(answer, role, most_tokens)
    except GtftdError as error:
        return RoleReport(role, before, None, str(error))
    after = tuple(Line("short prime", section.name, section.tokens) for section in reduced.sections)
    return RoleReport(role, before, after, "", reduced.tokens, reduced.counted_by)


def _first_rig(target: Target) -> str | None:
    from gtftd.town.layout import load_town

    if target.town is None:
        return None
    return next((rig.name for rig in load_town(target.town).rigs), None)


def _print(reports: list[RoleReport], counted_by: str) -> None:
    from rich.text import Text

    table = show.table("role", "part", "before", "after", right=("before", "after"), folded=("part",))
    for one in reports:
        total = f"{one.total_after:,}" if one.total_after is not None else "-"
        saved = f", {one.saved} less" if one.saved else ""
        table.add_row(Text(one.role, show.CALM), Text(f"in all{saved}"), f"{one.total_before:,}", total)
        for line in one.before:
            note = " (read after it)" if line.later else ""
            table.add_row("", Text(show.clean(_named(line) + note), show.DIM), f"{line.tokens:,}", "")
        for line in one.after or ():
            table.add_row("", Text(show.clean(_named(line)), show.DIM), "", f"{line.tokens:,}")
    show.console().print(table)
    for text in _counted(reports, counted_by):
        show.print_line(text)
    for why in dict.fromkeys(one.why for one in reports if one.why):
        roles = ", ".join(one.role for one in reports if one.why == why)
        show.print_line(f"no short prime for {roles}: {show.clean(why)}")


def _counted(reports: list[RoleReport], counted_by: str) -> Iterator[str]:
    """By what; the daemon may count by another tokenizer than was given here."""
    others = sorted({one.counted_by for one in reports if one.counted_by} - {counted_by})
    yield f"Tokens are counted by {counted_by}{f', after by {show.clean(others[0])}' if others else ''}."


def _named(line: Line) -> str:
    return f"{line.source}: {line.name}" if line.name else line.source


def _markdown(reports: list[RoleReport], counted_by: str) -> Iterator[str]:
    """A table of all roles, then one for each."""
    yield "| role | before | read after it | after | less |"
    yield "|---|---:|---:|---:|---:|"
    for one in reports:
        later = f"{one.total_later:,}" if one.total_later else ""
        after = f"{one.total_after:,}" if one.total_after is not None else ""
        yield f"| {one.role} | {one.total_before:,} | {later} | {after} | {one.saved} |"
    yield ""
    for text in _counted(reports, counted_by):
        yield _cell(text)
    for one in reports:
        yield ""
        yield f"### {one.role}"
        yield ""
        yield from _role_table(one)


def _role_table(one: RoleReport) -> Iterator[str]:
    yield "| part | before | after |"
    yield "|---|---:|---:|"
    lines: Iterable[Line] = one.before
    for line in lines:
        note = " (read after it, not in the sum)" if line.later else ""
        yield f"| {_cell(_named(line))}{note} | {line.tokens:,} | |"
    for line in one.after or ():
        yield f"| {_cell(_named(line))} | | {line.tokens:,} |"
    total = f"{one.total_after:,}" if one.total_after is not None else ""
    yield f"| **in all** | **{one.total_before:,}** | {f'**{total}**' if total else ''} |"


def _cell(text: str) -> str:
    return show.clean(text).replace(_PIPE, "\\|")
