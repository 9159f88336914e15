-- Evidence: what is on record of a bead, an agent, a terminal, a commit, a rig or the whole town besides sessions,
-- assignments and closes. A row is keyed by what it says: told again, in any order, it stays the same row.
CREATE TABLE findings (
    -- `bead:<id>`, `agent:<address>`, `tmux:<session>`, `commit:<sha>`, `rig:<name>`, `town:`.
    subject     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    at          REAL NOT NULL,
    -- JSON: ids, times and words of a closed vocabulary, never text that somebody wrote.
    said        TEXT NOT NULL,
    PRIMARY KEY (subject, kind, at, said)
) WITHOUT ROWID;
CREATE INDEX findings_by_time ON findings (subject, at);
