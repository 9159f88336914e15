"""What was reacted to: once for each reaction and key, across restarts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gtftd.state.database import Database
from gtftd.state.outbox import insert_rows

Verdict = Literal["run", "done", "parked", "busy"]
EncodedRow = tuple[str, str, bytes]


@dataclass(frozen=True)
class Claim:
    """A reaction that wants to run for an event."""

    reaction: str
    key: str
    event_id: str


@dataclass(frozen=True)
class Answer:
    """`attempt` counts from 1 and survives restarts; 0 when the claim was turned down."""

    verdict: Verdict
    attempt: int = 0


@dataclass(frozen=True)
class Done:
    """A reaction that has run, and the facts that it returned, encoded for the outbox."""

    claim: Claim
    rows: Sequence[EncodedRow] = ()


@dataclass(frozen=True)
class Failure:
    """Why a reaction was parked, with the bytes that it failed on."""

    claim: Claim
    subject: str
    body: bytes
    attempts: int
    error: str
    traceback: str = ""


_FIRST = Answer("run", 1)
_SET_STATE = "UPDATE reactions SET state = ?, updated_at = ? WHERE reaction = ? AND key = ?"


class Ledger:
    """`boot_id` names this run of the daemon: a row that runs under an older one belonged to a dead daemon."""

    def __init__(self, database: Database, boot_id: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._boot_id = boot_id
        self._clock = clock

    async def begin(self, claims: Sequence[Claim]) -> list[Answer]:
        """Take what is free. A claim that runs under this boot is busy; under an older one it is taken over."""
        now = self._clock()
        return await self._database.write(lambda connection: [self._begin(connection, claim, now) for claim in claims])

    def _begin(self, connection: sqlite3.Connection, claim: Claim, now: float) -> Answer:
        taken = connection.execute(
            "INSERT INTO reactions (reaction, key, state, attempts, boot_id, event_id, updated_at)"
            " VALUES (?, ?, 'running', 1, ?, ?, ?) ON CONFLICT (reaction, key) DO NOTHING",
            (claim.reaction, claim.key, self._boot_id, claim.event_id, now),
        )
        return _FIRST if taken.rowcount else self._begin_again(connection, claim, now)

    def _begin_again(self, connection: sqlite3.Connection, claim: Claim, now: float) -> Answer:
        state, attempts, boot_id = connection.execute(
            "SELECT state, attempts, boot_id FROM reactions WHERE reaction = ? AND key = ?",
            (claim.reaction, claim.key),
        ).fetchone()
        if state in {"done", "parked"}:
            return Answer(state)
        if state == "running" and boot_id == self._boot_id:
            return Answer("busy")
        connection.execute(
            "UPDATE reactions SET state = 'running', attempts = ?, boot_id = ?, event_id = ?, updated_at = ?"
            " WHERE reaction = ? AND key = ?",
            (attempts + 1, self._boot_id, claim.event_id, now, claim.reaction, claim.key),
        )
        return Answer("run", attempts + 1)

    async def commit(self, done: Sequence[Done]) -> None:
        """Done, and what they returned is on its way: one transaction for all of them."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_SET_STATE, [("done", now, item.claim.reaction, item.claim.key) for item in done])
            rows = [row for item in done for row in item.rows]
            if rows:
                insert_rows(connection, rows)

        await self._database.write(work)

    async def release(self, claim: Claim, *, counted: bool) -> None:
        """It may be tried again; an attempt that was not the event's fault is not counted."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> None:
            _set_state(connection, claim, "waiting", now)
            if not counted:
                connection.execute(
                    "UPDATE reactions SET attempts = max(attempts - 1, 0) WHERE reaction = ? AND key = ?",
                    (claim.reaction, claim.key),
                )

        await self._database.write(work)

    async def park(self, failure: Failure, rows: Sequence[EncodedRow]) -> None:
        """It failed for good: kept with its bytes until an operator looks."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> None:
            claim = failure.claim
            connection.execute(
                "INSERT INTO reactions (reaction, key, state, attempts, boot_id, event_id, updated_at)"
                " VALUES (?, ?, 'parked', ?, ?, ?, ?)"
                " ON CONFLICT (reaction, key) DO UPDATE SET state = 'parked', updated_at = excluded.updated_at",
                (claim.reaction, claim.key, failure.attempts, self._boot_id, claim.event_id, now),
            )
            connection.execute(
                "INSERT INTO parked (reaction, key, subject, body, attempts, error, traceback, parked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (reaction, key) DO UPDATE SET body = excluded.body, attempts = excluded.attempts,"
                " error = excluded.error, traceback = excluded.traceback, parked_at = excluded.parked_at",
                (
                    claim.reaction,
                    claim.key,
                    failure.subject,
                    failure.body,
                    failure.attempts,
                    failure.error,
                    failure.traceback,
                    now,
                ),
            )
            insert_rows(connection, rows)

        await self._database.write(work)

    async def purge(self, before: float, limit: int = 5000) -> int:
        """Forget reactions done before a moment (Unix seconds), a bounded number at a time."""
        sql = (
            "DELETE FROM reactions WHERE (reaction, key) IN"
            " (SELECT reaction, key FROM reactions WHERE updated_at < ? AND state = 'done' LIMIT ?)"
        )
        return await self._database.write(lambda connection: connection.execute(sql, (before, limit)).rowcount)


def _set_state(connection: sqlite3.Connection, claim: Claim, state: str, now: float) -> None:
    connection.execute(_SET_STATE, (state, now, claim.reaction, claim.key))
