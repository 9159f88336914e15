-- The registry: what was trained, of what, how good it is, and whom it serves. Rows are never removed.
CREATE TABLE models (
    name             TEXT PRIMARY KEY,
    kind             TEXT NOT NULL CHECK (kind IN ('role', 'task')),
    -- The role or the task whose versions are counted.
    series           TEXT NOT NULL,
    version          INTEGER NOT NULL CHECK (version > 0),
    status           TEXT NOT NULL,
    base_model       TEXT NOT NULL,
    base_digest      TEXT NOT NULL,
    tokenizer_sha256 TEXT NOT NULL,
    corpus_hash      TEXT NOT NULL,
    snapshot         TEXT,
    parent           TEXT REFERENCES models (name),
    job              TEXT,
    artifact         TEXT NOT NULL REFERENCES artifacts (digest),
    examples         INTEGER NOT NULL DEFAULT 0,
    dpo_pairs        INTEGER NOT NULL DEFAULT 0,
    lora_rank        INTEGER,
    lora_adapters    TEXT NOT NULL DEFAULT '[]',
    compatible_with  TEXT NOT NULL DEFAULT '[]',
    training_config  TEXT NOT NULL DEFAULT '{}',
    -- Path -> sha256 of the instructions that held when it was trained.
    conventions      TEXT NOT NULL DEFAULT '{}',
    gtftd_version    TEXT NOT NULL,
    eval_score       REAL,
    -- Unix seconds: what happened later it cannot know.
    trained_at       REAL NOT NULL,
    created_at       REAL NOT NULL,
    UNIQUE (kind, series, version)
) WITHOUT ROWID;
CREATE INDEX models_by_artifact ON models (artifact);
CREATE INDEX models_by_snapshot ON models (snapshot);

-- The last version that was ever given: one that failed half-way is not given again.
CREATE TABLE model_versions (
    kind TEXT NOT NULL,
    series TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (kind, series)
) WITHOUT ROWID;

-- A folder below models/, named by the sha256 of its manifest. `removed_at`: the tombstone that prune leaves.
CREATE TABLE artifacts (
    digest     TEXT PRIMARY KEY,
    format     TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    signer     TEXT NOT NULL,
    stored_at  REAL NOT NULL,
    removed_at REAL
) WITHOUT ROWID;

-- What a model was made of, by name or digest: base, snapshot, parent, job, entry.
CREATE TABLE lineage (
    model    TEXT NOT NULL REFERENCES models (name),
    relation TEXT NOT NULL,
    source   TEXT NOT NULL,
    PRIMARY KEY (model, relation, source)
) WITHOUT ROWID;
CREATE INDEX lineage_by_source ON lineage (source);

CREATE TABLE evaluations (
    id       TEXT PRIMARY KEY,
    model    TEXT NOT NULL REFERENCES models (name),
    suite    TEXT NOT NULL,
    at       REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX evaluations_by_model ON evaluations (model, at);

-- Scores are shares from 0 to 1 with a 95 % interval; category '' is the whole suite.
CREATE TABLE eval_scores (
    evaluation TEXT NOT NULL REFERENCES evaluations (id),
    category   TEXT NOT NULL,
    score      REAL NOT NULL,
    n          INTEGER NOT NULL,
    low        REAL NOT NULL,
    high       REAL NOT NULL,
    PRIMARY KEY (evaluation, category)
) WITHOUT ROWID;

CREATE TABLE eval_items (
    evaluation TEXT NOT NULL REFERENCES evaluations (id),
    item       TEXT NOT NULL,
    category   TEXT NOT NULL,
    passed     INTEGER NOT NULL,
    PRIMARY KEY (evaluation, item)
) WITHOUT ROWID;

-- Every change of a model's status: who, when, why.
CREATE TABLE model_transitions (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    model    TEXT NOT NULL REFERENCES models (name),
    previous TEXT,
    status   TEXT NOT NULL,
    by       TEXT NOT NULL,
    why      TEXT NOT NULL,
    at       REAL NOT NULL
);
CREATE INDEX model_transitions_by_model ON model_transitions (model);

-- Decisions of whom a model serves. The rig '' is the whole town.
CREATE TABLE deployments (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    action   TEXT NOT NULL CHECK (action IN ('deploy', 'rollback', 'withdraw')),
    role     TEXT NOT NULL,
    rig      TEXT NOT NULL DEFAULT '',
    -- NULL: none of ours; the town's own agent.
    model    TEXT REFERENCES models (name),
    previous TEXT REFERENCES models (name),
    by       TEXT NOT NULL,
    why      TEXT NOT NULL,
    at       REAL NOT NULL
);
CREATE INDEX deployments_by_place ON deployments (role, rig);

-- Names for versions: `active` of a role in a rig follows the deployments, all others are set by people.
CREATE TABLE model_aliases (
    series TEXT NOT NULL,
    alias  TEXT NOT NULL,
    rig    TEXT NOT NULL DEFAULT '',
    model  TEXT NOT NULL REFERENCES models (name),
    at     REAL NOT NULL,
    PRIMARY KEY (series, alias, rig)
) WITHOUT ROWID;
CREATE INDEX model_aliases_by_model ON model_aliases (model);

CREATE TABLE training_jobs (
    id          TEXT PRIMARY KEY,
    series      TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('role', 'task')),
    objective   TEXT NOT NULL,
    state       TEXT NOT NULL,
    snapshot    TEXT,
    model       TEXT REFERENCES models (name),
    bead        TEXT,
    corpus_bead TEXT,
    config      TEXT NOT NULL DEFAULT '{}',
    note        TEXT NOT NULL DEFAULT '',
    created_at  REAL NOT NULL,
    updated_at  REAL NOT NULL,
    ended_at    REAL
) WITHOUT ROWID;
CREATE INDEX training_jobs_by_state ON training_jobs (state);

CREATE TABLE preferences (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    role            TEXT NOT NULL,
    rig             TEXT,
    bead            TEXT,
    snapshot        TEXT NOT NULL,
    chosen_sha256   TEXT NOT NULL,
    rejected_sha256 TEXT NOT NULL,
    weight          REAL NOT NULL,
    why             TEXT NOT NULL,
    created_at      REAL NOT NULL
) WITHOUT ROWID;

-- What `bd` is still to be told of a training job, in order; `bd` may be away.
CREATE TABLE bead_intents (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    job     TEXT NOT NULL REFERENCES training_jobs (id),
    action  TEXT NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}',
    at      REAL NOT NULL,
    done_at REAL,
    error   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX bead_intents_open ON bead_intents (seq) WHERE done_at IS NULL;
CREATE INDEX bead_intents_by_job ON bead_intents (job, action);

-- What the town's Dolt is still to be told, in order: the row as it was then, NULL where it was removed.
CREATE TABLE records_journal (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    key        TEXT NOT NULL,
    row        TEXT,
    at         REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
);

CREATE TRIGGER models_insert_told AFTER INSERT ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('model_registry', NEW.name, json_object(
        'name', NEW.name, 'kind', NEW.kind, 'series', NEW.series, 'version', NEW.version, 'status', NEW.status,
        'base_model', NEW.base_model, 'base_digest', NEW.base_digest, 'tokenizer_sha256', NEW.tokenizer_sha256,
        'corpus_hash', NEW.corpus_hash, 'snapshot', NEW.snapshot, 'parent', NEW.parent, 'job', NEW.job,
        'artifact', NEW.artifact, 'examples', NEW.examples, 'dpo_pairs', NEW.dpo_pairs, 'lora_rank', NEW.lora_rank,
        'lora_adapters', NEW.lora_adapters, 'compatible_with', NEW.compatible_with,
        'training_config', NEW.training_config, 'conventions', NEW.conventions, 'gtftd_version', NEW.gtftd_version,
        'eval_score', NEW.eval_score, 'trained_at', NEW.trained_at, 'created_at', NEW.created_at));
END;
CREATE TRIGGER models_update_told AFTER UPDATE ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('model_registry', NEW.name, json_object(
        'name', NEW.name, 'kind', NEW.kind, 'series', NEW.series, 'version', NEW.version, 'status', NEW.status,
        'base_model', NEW.base_model, 'base_digest', NEW.base_digest, 'tokenizer_sha256', NEW.tokenizer_sha256,
        'corpus_hash', NEW.corpus_hash, 'snapshot', NEW.snapshot, 'parent', NEW.parent, 'job', NEW.job,
        'artifact', NEW.artifact, 'examples', NEW.examples, 'dpo_pairs', NEW.dpo_pairs, 'lora_rank', NEW.lora_rank,
        'lora_adapters', NEW.lora_adapters, 'compatible_with', NEW.compatible_with,
        'training_config', NEW.training_config, 'conventions', NEW.conventions, 'gtftd_version', NEW.gtftd_version,
        'eval_score', NEW.eval_score, 'trained_at', NEW.trained_at, 'created_at', NEW.created_at));
END;
CREATE TRIGGER models_delete_told AFTER DELETE ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('model_registry', OLD.name, NULL);
END;
CREATE TRIGGER training_jobs_insert_told AFTER INSERT ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('training_jobs', NEW.id, json_object(
        'id', NEW.id, 'series', NEW.series, 'kind', NEW.kind, 'objective', NEW.objective, 'state', NEW.state,
        'snapshot', NEW.snapshot, 'model', NEW.model, 'bead', NEW.bead, 'corpus_bead', NEW.corpus_bead,
        'config', NEW.config, 'note', NEW.note, 'created_at', NEW.created_at, 'updated_at', NEW.updated_at,
        'ended_at', NEW.ended_at));
END;
CREATE TRIGGER training_jobs_update_told AFTER UPDATE ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('training_jobs', NEW.id, json_object(
        'id', NEW.id, 'series', NEW.series, 'kind', NEW.kind, 'objective', NEW.objective, 'state', NEW.state,
        'snapshot', NEW.snapshot, 'model', NEW.model, 'bead', NEW.bead, 'corpus_bead', NEW.corpus_bead,
        'config', NEW.config, 'note', NEW.note, 'created_at', NEW.created_at, 'updated_at', NEW.updated_at,
        'ended_at', NEW.ended_at));
END;
CREATE TRIGGER training_jobs_delete_told AFTER DELETE ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('training_jobs', OLD.id, NULL);
END;
CREATE TRIGGER preferences_insert_told AFTER INSERT ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('dpo_preferences', NEW.id, json_object(
        'id', NEW.id, 'kind', NEW.kind, 'role', NEW.role, 'rig', NEW.rig, 'bead', NEW.bead, 'snapshot', NEW.snapshot,
        'chosen_sha256', NEW.chosen_sha256, 'rejected_sha256', NEW.rejected_sha256, 'weight', NEW.weight,
        'why', NEW.why, 'created_at', NEW.created_at));
END;
CREATE TRIGGER preferences_update_told AFTER UPDATE ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('dpo_preferences', NEW.id, json_object(
        'id', NEW.id, 'kind', NEW.kind, 'role', NEW.role, 'rig', NEW.rig, 'bead', NEW.bead, 'snapshot', NEW.snapshot,
        'chosen_sha256', NEW.chosen_sha256, 'rejected_sha256', NEW.rejected_sha256, 'weight', NEW.weight,
        'why', NEW.why, 'created_at', NEW.created_at));
END;
CREATE TRIGGER preferences_delete_told AFTER DELETE ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('dpo_preferences', OLD.id, NULL);
END;
CREATE TRIGGER entries_insert_told AFTER INSERT ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('corpus_entries', NEW.entry_id, json_object(
        'entry_id', NEW.entry_id, 'sha256', NEW.sha256, 'kind', NEW.kind, 'role', NEW.role, 'rig', NEW.rig,
        'bead', NEW.bead, 'session_id', NEW.session_id, 'task', NEW.task, 'outcome', NEW.outcome,
        'confidence', NEW.confidence, 'messages', NEW.messages, 'trainable', NEW.trainable,
        'size_bytes', NEW.size_bytes, 'started_at', NEW.started_at, 'ended_at', NEW.ended_at,
        'stored_at', NEW.stored_at));
END;
CREATE TRIGGER entries_update_told AFTER UPDATE ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('corpus_entries', NEW.entry_id, json_object(
        'entry_id', NEW.entry_id, 'sha256', NEW.sha256, 'kind', NEW.kind, 'role', NEW.role, 'rig', NEW.rig,
        'bead', NEW.bead, 'session_id', NEW.session_id, 'task', NEW.task, 'outcome', NEW.outcome,
        'confidence', NEW.confidence, 'messages', NEW.messages, 'trainable', NEW.trainable,
        'size_bytes', NEW.size_bytes, 'started_at', NEW.started_at, 'ended_at', NEW.ended_at,
        'stored_at', NEW.stored_at));
END;
CREATE TRIGGER entries_delete_told AFTER DELETE ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('corpus_entries', OLD.entry_id, NULL);
END;
