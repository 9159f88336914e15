"""What can be read of one beads database at one moment: all SQL on its tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from gtftd.errors import NotReady
from gtftd.town.bead_fields import READ_CHARS
from gtftd.town.bead_rows import (
    Cell,
    Change,
    ClosedBead,
    Dependency,
    Issue,
    moment,
    parse_change,
    parse_issue,
    text,
)

HISTORIES = {"events": "issues", "wisp_events": "wisps"}
"""Each history table and the table of the beads it tells of."""
MAX_VALUE_BYTES = 1_048_576
"""A longer `old_value` or `new_value` is not fetched: the issue itself says what came of it."""
PAGE = 2000
"""Most rows without text in one answer."""
MANY = 200
"""Most rows with text in one answer."""
_ISSUE = ("id", "title", "issue_type", "status", "assignee", "close_reason", "closed_at", "updated_at", "created_at")
_TOLD = (
    "CASE WHEN LOCATE('source_issue:', description) > 0 OR LOCATE('exit_type:', description) > 0 "
    f"THEN SUBSTR(description, 1, {READ_CHARS}) END AS description"
)
"""The descriptions that gt writes for itself; everybody else's stay where they are."""
LONG = frozenset({"description", "design", "acceptance_criteria", "notes", "text"})
"""Columns that may hold more than anybody reads."""
TARGETS = ("depends_on_id", "depends_on_issue_id", "depends_on_wisp_id", "depends_on_external")


Row: TypeAlias = dict[str, Cell]


class SchemaUnknown(NotReady):
    """The tables of this database are not those of beads."""


@dataclass(frozen=True)
class Head:
    """A history row without its text; `at` is as stored, without a zone."""

    table: str
    id: int | str
    at: datetime

    @property
    def key(self) -> str:
        return f"{self.table}:{self.id}"


@dataclass(frozen=True)
class Page:
    """Rows of whole moments, in order; `complete` when there was nothing after them."""

    heads: tuple[Head, ...]
    complete: bool


@dataclass(frozen=True)
class BareClose:
    """One closing row: `at` is as stored, without a zone."""

    bead: str
    actor: str
    at: datetime


class Query(Protocol):
    """One short read on the connection of the moment."""

    async def __call__(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Cell]]: ...


class Snapshot:
    """The reads of one database at one moment; made by `BeadsReader.snapshot`."""

    def __init__(
        self,
        query: Query,
        begin: Callable[[], Awaitable[bool]],
        database: str,
        tables: Mapping[str, frozenset[str]],
    ) -> None:
        self.frozen = False
        self._query = query
        self._begin = begin
        self._database = database
        self._tables = tables

    @property
    def _histories(self) -> list[str]:
        return [name for name in HISTORIES if {"id", "issue_id", "event_type", "created_at"} <= self._columns(name)]

    @property
    def _beads(self) -> list[str]:
        return [name for name in HISTORIES.values() if {"id", "status"} <= self._columns(name)]

    async def freeze(self) -> None:
        """From here on every read sees the same state, where the server knows transactions."""
        if not self.frozen:
            self.frozen = await self._begin()

    async def newest(self) -> datetime | None:
        """`created_at` of the newest history row, as stored."""
        found: list[datetime] = []
        for table in self._histories:
            rows = await self._query(f"SELECT MAX(created_at) AS at FROM {table}")
            at = _naive(rows[0]["at"]) if rows else None
            if at is not None:
                found.append(at)
        return max(found, default=None)

    async def heads(self, since: datetime | None, limit: int) -> Page:
        """The rows from `since` on, at least one whole moment of them and about `limit` rows."""
        pages = [await self._heads_of(table, since, limit) for table in self._histories]
        ends = [page.heads[-1].at for page in pages if not page.complete]
        horizon = min(ends, default=None)
        heads = [head for page in pages for head in page.heads if horizon is None or head.at <= horizon]
        heads.sort(key=lambda head: head.at)
        return Page(tuple(heads), complete=horizon is None)

    async def _heads_of(self, table: str, since: datetime | None, limit: int) -> Page:
        """Keyset pages by (created_at, id); a page is cut where a moment ends, never inside one."""
        heads: list[Head] = []
        condition = "" if since is None else " WHERE created_at >= %s"
        values: tuple[object, ...] = () if since is None else (since,)
        while True:
            sql = f"SELECT id, created_at FROM {table}{condition} ORDER BY created_at, id LIMIT {limit}"
            rows = await self._query(sql, values)
            page = [Head(table, _id(row["id"]), at) for row in rows if (at := _naive(row["created_at"]))]
            heads += page
            if len(rows) < limit or not page:
                return Page(tuple(heads), complete=True)
            last = page[-1]
            whole = [head for head in heads if head.at < last.at]
            if whole:
                return Page(tuple(whole), complete=False)
            condition = " WHERE created_at >= %s AND (created_at > %s OR id > %s)"
            values = (last.at, last.at, last.id)

    async def changes(self, heads: Sequence[Head]) -> list[Change]:
        """The rows of `heads` with what they say."""
        found: list[Change] = []
        for table in self._histories:
            ids = [head.id for head in heads if head.table == table]
            for start in range(0, len(ids), MANY):
                found += await self._changes(table, "id", ids[start : start + MANY])
        return found

    async def history(self, beads: Sequence[str]) -> list[Change]:
        """Every row of `beads` that may have changed their status."""
        found: list[Change] = []
        kinds = "event_type IN ('created', 'closed', 'reopened', 'status_changed', 'updated')"
        for table in self._histories:
            for start in range(0, len(beads), MANY):
                found += await self._changes(table, "issue_id", beads[start : start + MANY], f" AND {kinds}")
        return found

    async def changes_of(self, beads: Sequence[str]) -> list[Change]:
        """Every history row of `beads`."""
        found: list[Change] = []
        for table in self._histories:
            for start in range(0, len(beads), MANY):
                found += await self._changes(table, "issue_id", beads[start : start + MANY])
        return found

    async def beads_after(self, table: str, after: str, limit: int) -> list[str]:
        """The next ids of `issues` or `wisps`, in order."""
        if table not in self._beads:
            return []
        rows = await self._query(f"SELECT id FROM {table} WHERE id > %s ORDER BY id LIMIT {limit}", (after,))
        return [text(row["id"]) for row in rows]

    async def count(self, table: str) -> int:
        """How many beads `issues` or `wisps` has."""
        if table not in self._beads:
            return 0
        rows = await self._query(f"SELECT COUNT(*) AS n FROM {table}")
        return int(text(rows[0]["n"]))

    async def last_closed(self, table: str, limit: int) -> list[Issue]:
        """Of `issues` or `wisps`, those that were closed last."""
        if table not in self._beads or "closed_at" not in self._columns(table):
            return []
        sql = f"SELECT id, status, closed_at FROM {table} WHERE status = 'closed' ORDER BY closed_at DESC LIMIT {limit}"
        return [parse_issue(row) for row in await self._query(sql)]

    async def closes(self, since: datetime | None, until: datetime | None, most: int) -> list[BareClose]:
        """Who closed what in this time by the rows' own clock: the oldest `most` rows of each history."""
        found: list[BareClose] = []
        for table in self._histories:
            after: tuple[object, ...] = ()
            part: list[dict[str, Cell]] = []
            while len(part) < most:
                limits = [("created_at >= %s", since), ("created_at <= %s", until)]
                conditions = ["event_type = 'closed'", *(sql for sql, value in limits if value is not None)]
                values: list[object] = [value for _, value in limits if value is not None]
                if after:
                    conditions.append("created_at >= %s AND (created_at > %s OR id > %s)")
                    values += after
                sql = f"SELECT id, issue_id, actor, created_at FROM {table} WHERE {' AND '.join(conditions)}"
                rows = await self._query(f"{sql} ORDER BY created_at, id LIMIT {PAGE}", values)
                part += rows
                if len(rows) < PAGE:
                    break
                last = _naive(rows[-1]["created_at"])
                after = (last, last, _id(rows[-1]["id"]))
            found += [
                BareClose(text(row["issue_id"]), text(row["actor"]), at)
                for row in part
                if (at := _naive(row["created_at"])) is not None
            ]
        return found

    async def rows(self, table: str, wanted: Sequence[str], column: str, values: Sequence[object]) -> list[Row]:
        """Those of the wanted columns that `table` has, where `column` is one of `values`; [] without such a table.

        A text of more than MAX_VALUE_BYTES is not fetched.
        """
        there = [name for name in wanted if name in self._columns(table)]
        if not there or column not in self._columns(table):
            return []
        named = [
            f"CASE WHEN LENGTH({name}) <= {MAX_VALUE_BYTES} THEN {name} END AS {name}" if name in LONG else name
            for name in there
        ]
        found: list[Row] = []
        for start in range(0, len(values), MANY):
            part = values[start : start + MANY]
            found += await self._query(
                f"SELECT {', '.join(named)} FROM {table} WHERE {column} IN ({_marks(part)})", list(part)
            )
        return found

    async def issues(self, beads: Sequence[str]) -> dict[str, Issue]:
        """The beads as they stand; those that were deleted are absent."""
        found: dict[str, Issue] = {}
        for table in self._beads:
            wanted = self._wanted(table)
            missing = [bead for bead in beads if bead not in found]
            for start in range(0, len(missing), MANY):
                part = missing[start : start + MANY]
                rows = await self._query(f"SELECT {wanted} FROM {table} WHERE id IN ({_marks(part)})", part)
                found |= {issue.bead: issue for issue in map(parse_issue, rows)}
        return found

    async def closed_since(self, after: datetime) -> list[ClosedBead]:
        limit = after.astimezone(UTC).replace(tzinfo=None)
        found: list[ClosedBead] = []
        for table in self._beads:
            if "closed_at" not in self._columns(table):
                continue
            wanted = ", ".join(name for name in _ISSUE if name in self._columns(table))
            rows = await self._query(
                f"SELECT {wanted} FROM {table} WHERE status = 'closed' AND closed_at >= %s ORDER BY closed_at", (limit,)
            )
            found += [self._closed(issue, issue.closed_at) for issue in map(parse_issue, rows) if issue.closed_at]
        return sorted(found, key=lambda bead: bead.closed_at)

    async def dependencies(self, bead: str) -> list[Dependency]:
        found: list[Dependency] = []
        for table in ("dependencies", "wisp_dependencies"):
            columns = self._columns(table)
            targets = [name for name in TARGETS if name in columns]
            if not targets or not {"issue_id", "type"} <= columns:
                continue
            sql = f"SELECT type, {', '.join(targets)} FROM {table} WHERE issue_id = %s"
            for row in await self._query(sql, (bead,)):
                target = next((named for name in targets if (named := text(row[name]))), "")
                if target:
                    found.append(Dependency(bead, target, text(row["type"])))
        return found

    def _closed(self, issue: Issue, at: datetime) -> ClosedBead:
        named = (self._database, issue.bead, issue.title, issue.issue_type, issue.assignee)
        return ClosedBead(*named, issue.reason, at)

    async def _changes(self, table: str, column: str, values: Sequence[object], more: str = "") -> list[Change]:
        columns = self._columns(table)
        plain = [name for name in ("id", "issue_id", "event_type", "actor", "created_at") if name in columns]
        long = [
            f"CASE WHEN LENGTH({name}) <= {MAX_VALUE_BYTES} THEN {name} END AS {name}"
            for name in ("old_value", "new_value")
            if name in columns
        ]
        sql = f"SELECT {', '.join(plain + long)} FROM {table} WHERE {column} IN ({_marks(values)}){more}"
        return [parse_change(table, row) for row in await self._query(sql, list(values))]

    def _wanted(self, table: str) -> str:
        columns = self._columns(table)
        return ", ".join(
            [*(name for name in _ISSUE if name in columns), *([_TOLD] if "description" in columns else [])]
        )

    def _columns(self, table: str) -> frozenset[str]:
        return self._tables.get(table, frozenset())


def check_tables(database: str, tables: Mapping[str, frozenset[str]]) -> None:
    """Raise SchemaUnknown unless these are tables of beads."""
    for table, needed in (
        ("events", {"id", "issue_id", "event_type", "created_at"}),
        ("issues", {"id", "status"}),
    ):
        lacking = needed - tables.get(table, frozenset())
        if lacking:
            raise SchemaUnknown(
                f"database {database!r} has no {table}.{', '.join(sorted(lacking))}: is it a beads database, "
                "and has `bd` finished its migration?"
            )


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))


def _id(value: Cell) -> int | str:
    return value if isinstance(value, int) else text(value)


def _naive(value: Cell) -> datetime | None:
    found = moment(value)
    return None if found is None else found.replace(tzinfo=None)
