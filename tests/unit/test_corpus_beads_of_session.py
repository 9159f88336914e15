"""Of which beads the evidence of one session is read."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.records import beads_of, read_changes, read_closes, read_sessions
from gtftd.corpus.stints import find_stints, stints_of_session
from gtftd.state.database import migrations

ACTORS = ("harbor/polecats/moss", "harbor/polecats/fern", "harbor/refinery")
BEADS = ("hb-1", "hb-2", "hb-3")
TIMES = st.integers(0, 40)
ASSIGNMENTS = st.tuples(
    st.sampled_from(BEADS), st.sampled_from(ACTORS), TIMES, st.sampled_from(("assigned", "done", "unhook", "requeue"))
)
CLOSES = st.tuples(st.sampled_from(BEADS), TIMES, st.sampled_from(ACTORS), st.sampled_from((*ACTORS, None)))
SESSIONS = st.tuples(TIMES, st.none() | TIMES, st.sampled_from(("", "quiet")), st.sampled_from((None, *BEADS)))


@settings(max_examples=300)
@given(st.lists(ASSIGNMENTS, max_size=8), st.lists(CLOSES, max_size=5), st.lists(SESSIONS, min_size=1, max_size=4))
def test_every_stint_of_a_session_is_found(
    assignments: list[tuple[str, str, int, str]],
    closes: list[tuple[str, int, str, str | None]],
    sessions: list[tuple[int, int | None, str, str | None]],
) -> None:
    """What lies before or after the session is not read, and nothing that it had in hand is missed."""
    connection = _filled(assignments, closes, sessions)
    for session in read_sessions(connection, "1", ()):
        found = beads_of(connection, session)
        assert _stints(connection, found, session) == _stints(connection, list(BEADS), session)


def test_beads_of_before_and_after_are_not_read() -> None:
    """An agent's name is used for years: each of its sessions reads what it had to do with itself."""
    given_ = [(bead, ACTORS[0], at, "assigned") for bead, at in zip(BEADS, (0, 15, 30), strict=True)]
    closed: list[tuple[str, int, str, str | None]] = [
        (bead, at, ACTORS[2], ACTORS[0]) for bead, at in zip(BEADS, (5, 20, 35), strict=True)
    ]
    connection = _filled(given_, closed, [(14, 8, "", None)])
    (session,) = read_sessions(connection, "1", ())
    assert beads_of(connection, session) == ["hb-2"]


def _stints(connection: sqlite3.Connection, beads: list[str], session: object) -> object:
    return stints_of_session(session, find_stints(read_changes(connection, beads), read_closes(connection, beads)))  # type: ignore[arg-type]


def _filled(
    assignments: list[tuple[str, str, int, str]],
    closes: list[tuple[str, int, str, str | None]],
    sessions: list[tuple[int, int | None, str, str | None]],
) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for _, script in migrations():
        connection.executescript(script)
    for bead, actor, at, change in assignments:
        connection.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, 'feed')", (bead, actor, at, change))
    for bead in BEADS:
        told = sorted((close for close in closes if close[0] == bead), key=lambda close: close[1])
        for episode, (_, at, by, assignee) in enumerate(told, start=1):
            row = (bead, episode, "harbor", at, by, assignee, "", "task")
            connection.execute("INSERT INTO closes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    for number, (started, lasted, reason, work_bead) in enumerate(sessions):
        sql = "INSERT INTO sessions (session_id, actor, work_bead, started_at, seen_by) VALUES (?, ?, ?, ?, 'hook')"
        connection.execute(sql, (f"session-{number}", ACTORS[0], work_bead, started))
        if lasted is not None:
            end = (f"session-{number}", "", started + lasted, reason, 0)
            connection.execute("INSERT INTO session_ends VALUES (?, ?, ?, ?, ?)", end)
    return connection
