-- Reactions: what was done, is running, or failed for good. `key` says what a reaction must happen once for.
CREATE TABLE reactions (
    reaction    TEXT NOT NULL,
    key         TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'waiting', 'done', 'parked')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    boot_id     TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    updated_at  REAL NOT NULL,
    PRIMARY KEY (reaction, key)
) WITHOUT ROWID;
CREATE INDEX reactions_by_state ON reactions (state, updated_at) WHERE state <> 'done';
CREATE INDEX reactions_by_age ON reactions (updated_at);

-- Facts on their way to the bus, in order.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    subject     TEXT NOT NULL,
    body        BLOB NOT NULL
);

-- What failed for good, with its bytes, until somebody retries or drops it.
CREATE TABLE parked (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    reaction    TEXT NOT NULL,
    key         TEXT NOT NULL,
    subject     TEXT NOT NULL,
    body        BLOB NOT NULL,
    attempts    INTEGER NOT NULL,
    error       TEXT NOT NULL,
    traceback   TEXT NOT NULL DEFAULT '',
    parked_at   REAL NOT NULL,
    UNIQUE (reaction, key)
);

-- How far each source has read; the value is JSON that only the source understands.
CREATE TABLE cursors (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL
) WITHOUT ROWID;

-- What a source has told already, where its facts carry no position.
CREATE TABLE told (
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX told_by_age ON told (source, at);

-- Reactions that an operator has paused; '*' pauses all.
CREATE TABLE pauses (
    reaction    TEXT PRIMARY KEY,
    since       REAL NOT NULL,
    reason      TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- Counters that must survive a restart.
CREATE TABLE counters (
    name        TEXT PRIMARY KEY,
    value       INTEGER NOT NULL
) WITHOUT ROWID;

-- Evidence: which sessions there were.
CREATE TABLE sessions (
    session_id      TEXT PRIMARY KEY,
    transcript_path TEXT,
    role            TEXT,
    rig             TEXT,
    actor           TEXT,
    agent           TEXT,
    run_id          TEXT,
    tmux_session    TEXT,
    work_bead       TEXT,
    cwd             TEXT,
    git_head        TEXT,
    started_at      REAL,
    seen_by         TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_actor ON sessions (actor, started_at);
CREATE INDEX sessions_by_tmux ON sessions (tmux_session, started_at);
CREATE INDEX sessions_by_bead ON sessions (work_bead);

-- Evidence: how sessions ended. Claude Code names the session id, gt only the tmux session.
CREATE TABLE session_ends (
    session_id      TEXT NOT NULL DEFAULT '',
    tmux_session    TEXT NOT NULL DEFAULT '',
    at              REAL NOT NULL,
    reason          TEXT NOT NULL,
    died            INTEGER NOT NULL,
    PRIMARY KEY (session_id, tmux_session, at)
) WITHOUT ROWID;
CREATE INDEX session_ends_by_tmux ON session_ends (tmux_session, at);

-- Sessions with their ends. An end that names only the tmux session is that of the last session which began
-- there before it.
CREATE VIEW sessions_seen AS
SELECT s.*, e.at AS ended_at, e.reason AS end_reason, e.died AS died
FROM sessions s
LEFT JOIN session_ends e ON (e.session_id, e.tmux_session, e.at) = (
    SELECT x.session_id, x.tmux_session, x.at FROM session_ends x
    WHERE x.session_id = s.session_id
       OR (x.session_id = '' AND x.tmux_session = s.tmux_session AND x.at >= s.started_at
           AND NOT EXISTS (SELECT 1 FROM sessions n WHERE n.tmux_session = s.tmux_session
                           AND n.started_at > s.started_at AND n.started_at <= x.at))
    ORDER BY x.died DESC, x.at LIMIT 1);

-- Evidence: when which agent got or let go of which bead.
CREATE TABLE assignments (
    bead        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    at          REAL NOT NULL,
    change      TEXT NOT NULL,
    seen_by     TEXT NOT NULL,
    PRIMARY KEY (bead, actor, at, change)
) WITHOUT ROWID;
CREATE INDEX assignments_by_actor ON assignments (actor, at);

-- Evidence: the closes of each bead, one row an episode.
CREATE TABLE closes (
    bead        TEXT NOT NULL,
    episode     INTEGER NOT NULL,
    database    TEXT NOT NULL,
    closed_at   REAL NOT NULL,
    closed_by   TEXT,
    assignee    TEXT,
    title       TEXT NOT NULL,
    issue_type  TEXT NOT NULL,
    PRIMARY KEY (bead, episode)
) WITHOUT ROWID;
CREATE INDEX closes_by_assignee ON closes (assignee, closed_at);

-- Evidence: why, as it was said at each close; the last word counts.
CREATE TABLE close_reasons (
    bead        TEXT NOT NULL,
    episode     INTEGER NOT NULL,
    at          REAL NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (bead, episode, at, reason)
) WITHOUT ROWID;

-- Evidence: beads that were opened again, and as which episode.
CREATE TABLE reopenings (
    bead        TEXT NOT NULL,
    episode     INTEGER NOT NULL,
    PRIMARY KEY (bead, episode)
) WITHOUT ROWID;

-- Training entries. The text is in a content-addressed file; this row says which.
CREATE TABLE entries (
    entry_id    TEXT PRIMARY KEY,
    sha256      TEXT NOT NULL,
    role        TEXT NOT NULL,
    rig         TEXT,
    bead        TEXT,
    episode     INTEGER NOT NULL,
    session_id  TEXT NOT NULL,
    actor       TEXT,
    agent       TEXT,
    model       TEXT,
    outcome     TEXT NOT NULL,
    confidence  REAL NOT NULL,
    messages    INTEGER NOT NULL,
    redactions  INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    scrubber    TEXT NOT NULL,
    started_at  REAL,
    ended_at    REAL,
    stored_at   REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX entries_by_session ON entries (session_id);
CREATE INDEX entries_by_bead ON entries (bead);
CREATE INDEX entries_by_age ON entries (stored_at);
