-- Evidence: what each source said of a session's start or of a close. Several may speak of the same one, in any
-- order; the rows of `sessions` and `closes` follow from all of them, field by field, by rank and time.
CREATE TABLE accounts (
    kind        TEXT NOT NULL CHECK (kind IN ('session', 'close')),
    id          TEXT NOT NULL,
    rank        INTEGER NOT NULL,
    at          REAL NOT NULL,
    said        TEXT NOT NULL,
    PRIMARY KEY (kind, id, rank, at, said)
) WITHOUT ROWID;
CREATE INDEX closes_by_closer ON closes (closed_by, closed_at);

ALTER TABLE sessions ADD COLUMN last_started_at REAL;

-- Sessions with their ends. A session that started again after an end goes on. An end that names only the tmux
-- session is that of the last session which began there before it; gt tells it in whole seconds, rounded down,
-- so that within one second it is rather the older session's.
DROP VIEW sessions_seen;
CREATE VIEW sessions_seen AS
SELECT s.*, e.at AS ended_at, e.reason AS end_reason, e.died AS died
FROM sessions s
LEFT JOIN session_ends e ON (e.session_id, e.tmux_session, e.at) = (
    SELECT x.session_id, x.tmux_session, x.at FROM session_ends x
    WHERE CAST(x.at AS INTEGER) >= CAST(coalesce(s.last_started_at, s.started_at) AS INTEGER)
      AND (x.session_id = s.session_id
           OR (x.session_id = '' AND x.tmux_session = s.tmux_session AND x.at >= CAST(s.started_at AS INTEGER)
               AND (x.at > s.started_at
                    OR NOT EXISTS (SELECT 1 FROM sessions p WHERE p.tmux_session = s.tmux_session
                                   AND (p.started_at, p.session_id) < (s.started_at, s.session_id)))
               AND NOT EXISTS (SELECT 1 FROM sessions n WHERE n.tmux_session = s.tmux_session
                               AND (n.started_at, n.session_id) > (s.started_at, s.session_id)
                               AND n.started_at < x.at)))
    ORDER BY x.died DESC, x.at DESC LIMIT 1);
