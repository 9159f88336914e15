"""What `bd` does to a beads database: the row, its event, and the hook (gastown.md 3.5, 5.4, 5.5)."""

from __future__ import annotations

import json
import secrets
import string
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import Missing
from gtftd.sampletown.beadhooks import run_bead_hook
from gtftd.sampletown.database import open_database

Cell = str | int | float | None
Issue = dict[str, object]
SECONDS = "%Y-%m-%d %H:%M:%S"
_MOMENTS = ("created_at", "updated_at", "started_at", "closed_at", "due_at", "defer_until", "last_activity")


@dataclass(frozen=True)
class _Place:
    """The tables of one kind of issue: those that are versioned, and the wisps, which are not."""

    issues: str
    aside: str


_ISSUES = _Place("issues", "")
_WISPS = _Place("wisps", "wisp_")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Beads:
    """Writes one beads database as `bd` does; each call is one transaction, then the hook.

    A killed caller leaves the row with its event, or neither; the hook may be missing, as with bd.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        prefix: str,
        *,
        hooks_dir: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        environ_of: Callable[[str], Mapping[str, str]] | None = None,
    ) -> None:
        self.database = database
        self.prefix = prefix
        self._hooks_dir = hooks_dir
        self._clock = clock
        self._environ_of = environ_of
        self._connection = open_database(folder, database)
        columns = self._connection.execute("SELECT name, type FROM pragma_table_info('events')").fetchall()
        self._uuid_ids = any(row["name"] == "id" and "CHAR" in row["type"] for row in columns)

    def close_connection(self) -> None:
        self._connection.close()

    def create(
        self,
        title: str,
        *,
        actor: str,
        description: str = "",
        issue_type: str = "task",
        priority: int = 2,
        labels: tuple[str, ...] = (),
        wisp: bool = False,
        bead: str | None = None,
        **fields: Cell,
    ) -> str:
        """`bd create`; the new id. A wisp is ephemeral and lives in its own tables."""
        place = _WISPS if wisp else _ISSUES
        bead = bead or self._new_id(wisp)
        now = self._now()
        row: dict[str, Cell] = {
            "id": bead, "title": title, "description": description, "issue_type": issue_type,
            "priority": priority, "created_by": actor, "created_at": now, "updated_at": now,
            "status": "open", "ephemeral": int(wisp), **fields,
        }  # fmt: skip
        with self._transaction():
            self._insert(place.issues, row)
            self._event(place, bead, "created", actor, old_value="", new_value="")
            for label in labels:
                self._add_label(place, bead, label, actor)
        self._hook("create", bead, actor)
        return bead

    def update(self, bead: str, actor: str, *, event: str | None = None, **changes: Cell) -> None:
        """`bd update`: any columns; the event's type follows the change of status, as in bd."""
        place = self._place(bead)
        old = self.show(bead)
        now = self._now()
        status = changes.get("status", old["status"])
        stamps: dict[str, Cell] = {"updated_at": now}
        if status == "in_progress" and not old.get("started_at"):
            stamps["started_at"] = now
        if status == "closed" and old["status"] != "closed":
            stamps["closed_at"] = now
        if old["status"] == "closed" and status != "closed":
            stamps |= {"closed_at": None, "close_reason": ""}
        with self._transaction():
            self._set(place, bead, changes | stamps)
            kind = event or _kind_of_update(str(old["status"]), str(status))
            self._event(place, bead, kind, actor, old_value=_json(old), new_value=_json(changes))
        self._hook("update", bead, actor)

    def hook(self, bead: str, assignee: str, actor: str) -> None:
        """`gt sling` and `gt hook`: the bead hangs on an agent's hook."""
        self.update(bead, actor, status="hooked", assignee=assignee)

    def claim(self, bead: str, actor: str) -> None:
        """`bd update --claim`: mine, and in progress."""
        self.update(bead, actor, event="claimed", status="in_progress", assignee=actor)

    def reopen(self, bead: str, actor: str) -> None:
        self.update(bead, actor, status="open", assignee=None)

    def close(self, bead: str, reason: str, actor: str) -> None:
        """`bd close`. Closing a closed bead is no no-op: reason and time change, and another event is written."""
        place = self._place(bead)
        now = self._now()
        with self._transaction():
            changes: dict[str, Cell] = {"status": "closed", "close_reason": reason, "closed_at": now, "updated_at": now}
            self._set(place, bead, changes)
            self._event(place, bead, "closed", actor, old_value="", new_value=reason)
        self._hook("close", bead, actor)

    def label(self, bead: str, label: str, actor: str) -> None:
        with self._transaction():
            self._add_label(self._place(bead), bead, label, actor)
        self._hook("update", bead, actor)

    def depend(self, bead: str, needed: str, actor: str, kind: str = "blocks") -> None:
        """`bd dep add BEAD NEEDED`: the first needs the second."""
        place = self._place(bead)
        row: dict[str, Cell] = {"issue_id": bead, "type": kind, "created_at": self._now(), "created_by": actor}
        if self._uuid_ids:
            column = "depends_on_wisp_id" if self._holds(_WISPS, needed) else "depends_on_issue_id"
            row |= {"id": str(uuid.uuid4()), column: needed}
        else:
            row["depends_on_id"] = needed
        with self._transaction():
            self._insert(f"{place.aside}dependencies", row)
            self._event(place, bead, "dependency_added", actor, comment=f"Added dependency: {bead} {kind} {needed}")
        self._hook("update", bead, actor)

    def comment(self, bead: str, text: str, actor: str) -> None:
        place = self._place(bead)
        row: dict[str, Cell] = {"issue_id": bead, "author": actor, "text": text, "created_at": self._now()}
        if self._uuid_ids:
            row["id"] = str(uuid.uuid4())
        with self._transaction():
            self._insert(f"{place.aside}comments", row)
            self._event(place, bead, "commented", actor, comment=text)
        self._hook("update", bead, actor)

    def show(self, bead: str) -> Issue:
        """The issue as `bd show --json` gives it: empty fields left out. Raises Missing for an unknown id."""
        place = self._place(bead)
        row = self._connection.execute(f"SELECT * FROM {place.issues} WHERE id = ?", (bead,)).fetchone()
        issue: Issue = {key: row[key] for key in row.keys() if row[key] not in (None, "", 0, "{}")}  # noqa: SIM118
        for key in _MOMENTS:
            if isinstance(issue.get(key), str):
                issue[key] = f"{issue[key]}Z".replace(" ", "T")
        issue["priority"] = row["priority"]
        labels = self._connection.execute(f"SELECT label FROM {place.aside}labels WHERE issue_id = ?", (bead,))
        if found := [label["label"] for label in labels]:
            issue["labels"] = found
        return issue

    def ids(self) -> set[str]:
        rows = self._connection.execute("SELECT id FROM issues UNION ALL SELECT id FROM wisps")
        return {row["id"] for row in rows}

    def _place(self, bead: str) -> _Place:
        for place in (_ISSUES, _WISPS):
            if self._holds(place, bead):
                return place
        raise Missing(f"database {self.database} has no bead {bead}")

    def _holds(self, place: _Place, bead: str) -> bool:
        return self._connection.execute(f"SELECT 1 FROM {place.issues} WHERE id = ?", (bead,)).fetchone() is not None

    def _new_id(self, wisp: bool) -> str:
        taken = self.ids()
        alphabet = string.digits + string.ascii_lowercase
        while True:
            tail = "".join(secrets.choice(alphabet) for _ in range(5))
            bead = f"{self.prefix}-{'wisp-' if wisp else ''}{tail}"
            if bead not in taken:
                return bead

    def _now(self) -> str:
        return self._clock().astimezone(UTC).strftime(SECONDS)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _insert(self, table: str, row: Mapping[str, Cell]) -> None:
        marks = ", ".join("?" for _ in row)
        self._connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

    def _set(self, place: _Place, bead: str, changes: Mapping[str, Cell]) -> None:
        columns = ", ".join(f"{name} = ?" for name in changes)
        self._connection.execute(f"UPDATE {place.issues} SET {columns} WHERE id = ?", (*changes.values(), bead))

    def _event(self, place: _Place, bead: str, kind: str, actor: str, **values: str | None) -> None:
        """`values` are any of old_value, new_value and comment; bd leaves the others NULL."""
        row: dict[str, Cell] = {"issue_id": bead, "event_type": kind, "actor": actor, **values}
        row["created_at"] = self._now()
        if self._uuid_ids:
            row["id"] = str(uuid.uuid4())
        self._insert(f"{place.aside}events", row)

    def _add_label(self, place: _Place, bead: str, label: str, actor: str) -> None:
        sql = f"INSERT OR IGNORE INTO {place.aside}labels (issue_id, label) VALUES (?, ?)"
        self._connection.execute(sql, (bead, label))
        self._event(place, bead, "label_added", actor, comment=f"Added label: {label}")

    def _hook(self, change: str, bead: str, actor: str) -> None:
        if self._hooks_dir is not None:
            environ = self._environ_of(actor) if self._environ_of else None
            run_bead_hook(self._hooks_dir, change, bead, _json(self.show(bead)), environ)


def _kind_of_update(before: str, after: str) -> str:
    if before == after:
        return "updated"
    if after == "closed":
        return "closed"
    return "reopened" if before == "closed" else "status_changed"


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
