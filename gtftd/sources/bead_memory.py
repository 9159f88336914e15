"""What the beads poller remembers of a database: how far it read, what it told, how each bead stands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from gtftd.sources.bead_changes import KnownBead
from gtftd.state.outbox import already_told, forget_told, read_cursor, tell, write_cursor
from gtftd.town.beads import Head

TOLD_KEPT_S = 2 * 86_400
"""A server's clock may be set back by this much (summer time, repairs) without a row being told twice."""


@dataclass(frozen=True)
class Position:
    """`high_water` is in the rows' own clock, without a zone; None: read from the first row on.

    `zone_s` is how far that clock was ahead of UTC by the server's word, `offset_s` what the closes showed.
    """

    high_water: datetime | None
    zone_s: int = 0
    offset_s: int | None = None


def source_name(database: str) -> str:
    return f"beads:{database}"


def record_start(connection: sqlite3.Connection, now: float) -> None:
    """Keep when this town was listened to for the first time (Unix seconds); later calls change nothing."""
    if read_cursor(connection, "beads") is None:
        write_cursor(connection, "beads", {"since": now})


def load_start(connection: sqlite3.Connection) -> datetime | None:
    """The first start in UTC without a zone; None where nobody has recorded it."""
    cursor = read_cursor(connection, "beads")
    return None if cursor is None else datetime.fromtimestamp(float(str(cursor["since"])), UTC).replace(tzinfo=None)


def load_position(connection: sqlite3.Connection, database: str) -> Position | None:
    """None for a database that was never read."""
    value = read_cursor(connection, source_name(database))
    if value is None:
        return None
    water, zone, offset = value.get("high_water"), value.get("zone_s"), value.get("offset_s")
    return Position(
        high_water=datetime.fromisoformat(water) if isinstance(water, str) else None,
        zone_s=zone if isinstance(zone, int) else 0,
        offset_s=offset if isinstance(offset, int) else None,
    )


def unseen(connection: sqlite3.Connection, database: str, heads: Sequence[Head]) -> list[Head]:
    told = already_told(connection, source_name(database), [head.key for head in heads])
    return [head for head in heads if head.key not in told]


def told_of(connection: sqlite3.Connection, database: str, keys: Sequence[str]) -> set[str]:
    return already_told(connection, source_name(database), keys)


def load_states(connection: sqlite3.Connection, database: str, beads: Iterable[str]) -> dict[str, KnownBead]:
    sql = "SELECT closed, episode, inferred_at FROM bead_states WHERE database = ? AND bead = ?"
    found: dict[str, KnownBead] = {}
    for bead in beads:
        row = connection.execute(sql, (database, bead)).fetchone()
        if row is not None:
            found[bead] = KnownBead(bool(row[0]), row[1], row[2])
    return found


def remember(
    connection: sqlite3.Connection,
    database: str,
    position: Position,
    heads: Iterable[Head],
    states: Mapping[str, KnownBead],
) -> None:
    """Keep all of it; call it in the transaction that puts the facts into the outbox."""
    name = source_name(database)
    water = position.high_water
    value: dict[str, object] = {**asdict(position), "high_water": water.isoformat() if water else None}
    write_cursor(connection, name, value)
    tell(connection, name, [(head.key, _seconds(head.at)) for head in heads])
    if water is not None:
        forget_told(connection, name, _seconds(water) - TOLD_KEPT_S)
    connection.executemany(
        "INSERT OR REPLACE INTO bead_states (database, bead, closed, episode, inferred_at) VALUES (?, ?, ?, ?, ?)",
        [(database, bead, known.closed, known.episode, known.inferred_at) for bead, known in states.items()],
    )


def _seconds(at: datetime) -> float:
    """Seconds of a time without a zone, comparable with one another only."""
    return (at - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001
