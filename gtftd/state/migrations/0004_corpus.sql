-- Entries of every kind: documents have no session, and a session's turns are judged one by one.
CREATE TABLE entries_of_every_kind (
    entry_id    TEXT PRIMARY KEY,
    sha256      TEXT NOT NULL,
    kind        TEXT NOT NULL DEFAULT 'session',
    origin      TEXT NOT NULL DEFAULT '',
    source      TEXT NOT NULL DEFAULT 'claude-code',
    role        TEXT NOT NULL,
    rig         TEXT,
    bead        TEXT,
    episode     INTEGER NOT NULL,
    session_id  TEXT,
    actor       TEXT,
    agent       TEXT,
    model       TEXT,
    task        TEXT NOT NULL DEFAULT 'other',
    outcome     TEXT NOT NULL,
    confidence  REAL NOT NULL,
    failures    TEXT NOT NULL DEFAULT '',
    violations  INTEGER NOT NULL DEFAULT 0,
    messages    INTEGER NOT NULL,
    trainable   INTEGER NOT NULL DEFAULT 0,
    redactions  INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    scrubber    TEXT NOT NULL,
    -- The rules that last found nothing more in this content.
    audited     TEXT NOT NULL DEFAULT '',
    started_at  REAL,
    ended_at    REAL,
    stored_at   REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO entries_of_every_kind
    (entry_id, sha256, origin, role, rig, bead, episode, session_id, actor, agent, model, outcome, confidence,
     messages, redactions, size_bytes, scrubber, audited, started_at, ended_at, stored_at)
SELECT entry_id, sha256, 'session:' || session_id, role, rig, bead, episode, session_id, actor, agent, model, outcome,
       confidence, messages, redactions, size_bytes, scrubber, '', started_at, ended_at, stored_at
FROM entries;
DROP TABLE entries;
ALTER TABLE entries_of_every_kind RENAME TO entries;
CREATE INDEX entries_by_session ON entries (session_id);
CREATE INDEX entries_by_bead ON entries (bead);
CREATE INDEX entries_by_age ON entries (stored_at);
CREATE INDEX entries_by_kind ON entries (kind, origin);

-- Which texts, stored once, the current contents refer to.
CREATE TABLE entry_texts (
    entry_id    TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    PRIMARY KEY (entry_id, text_sha256)
) WITHOUT ROWID;
CREATE INDEX entry_texts_by_text ON entry_texts (text_sha256);

-- Spans that were redacted although nobody is sure: never the value, only its keyed digest.
CREATE TABLE doubts (
    digest      TEXT NOT NULL,
    entry_id    TEXT NOT NULL,
    placeholder TEXT NOT NULL,
    kind        TEXT NOT NULL,
    rule        TEXT NOT NULL,
    message     INTEGER NOT NULL,
    raised_at   REAL NOT NULL,
    PRIMARY KEY (digest, entry_id)
) WITHOUT ROWID;
CREATE INDEX doubts_by_entry ON doubts (entry_id);

-- What a person has decided about a value, by its keyed digest: `restored` lets it pass, `kept` ends the question.
CREATE TABLE verdicts (
    digest      TEXT PRIMARY KEY,
    verdict     TEXT NOT NULL CHECK (verdict IN ('restored', 'kept')),
    by          TEXT NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;

-- Contents and texts that must be nowhere any more; no snapshot may take them up.
CREATE TABLE taints (
    sha256      TEXT PRIMARY KEY,
    entry_id    TEXT NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;

-- Entries that a person has removed for ever: whatever would make them again makes nothing.
CREATE TABLE purges (
    entry_id    TEXT PRIMARY KEY,
    reason      TEXT NOT NULL,
    by          TEXT NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;

-- Instructions, formulas and gt's version as they were, from when on. No hash: the file was gone.
CREATE TABLE conventions (
    path        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    rig         TEXT,
    since       REAL NOT NULL,
    sha256      TEXT,
    PRIMARY KEY (path, since)
) WITHOUT ROWID;

-- Commands that instructions told agents to run and that a change took out of all of them.
CREATE TABLE retired_commands (
    command     TEXT NOT NULL,
    rig         TEXT NOT NULL DEFAULT '',
    since       REAL NOT NULL,
    path        TEXT NOT NULL,
    PRIMARY KEY (command, rig)
) WITHOUT ROWID;
