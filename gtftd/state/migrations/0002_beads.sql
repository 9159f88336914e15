-- What the beads poller last said of each bead, so that a close is told once in each episode.
CREATE TABLE bead_states (
    database    TEXT NOT NULL,
    bead        TEXT NOT NULL,
    closed      INTEGER NOT NULL,
    episode     INTEGER NOT NULL,
    -- Unix seconds of a change that no row told: the row that brings it later is not news.
    inferred_at REAL,
    PRIMARY KEY (database, bead)
) WITHOUT ROWID;
