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

-- The rows that are mirrored, by the names that the town knows.
CREATE VIEW model_registry_rows AS SELECT
    name, kind, series AS role, base_model, base_digest, tokenizer_sha256, version, corpus_hash, snapshot, parent, job,
    artifact,
    (SELECT 'models/' || digest FROM artifacts WHERE digest = models.artifact AND removed_at IS NULL) AS artifact_path,
    examples, dpo_pairs, lora_rank, lora_adapters, compatible_with, training_config, conventions, gtftd_version, eval_score,
    (SELECT json_group_object(category, json_object('score', score, 'n', n, 'low', low, 'high', high)) || ''
     FROM (SELECT * FROM eval_scores WHERE evaluation =
        (SELECT id FROM evaluations WHERE model = models.name ORDER BY at DESC, id DESC LIMIT 1) ORDER BY category)
    ) AS eval_scores_by_category,
    status AS deployment_status,
    (SELECT json_group_array(rig) || '' FROM (SELECT CASE rig WHEN '' THEN 'town' ELSE rig END AS rig FROM model_aliases
        WHERE model = models.name AND alias = 'active' ORDER BY rig)
    ) AS deployed_to,
    trained_at, created_at
FROM models;
CREATE VIEW training_jobs_rows AS SELECT
    id, series AS role, kind, objective, state, snapshot, model, bead, corpus_bead, config, note, created_at, updated_at,
    ended_at
FROM training_jobs;
CREATE VIEW dpo_preferences_rows AS SELECT
    id, kind, role, rig, bead, snapshot, chosen_sha256, rejected_sha256, weight, why, created_at
FROM preferences;
CREATE VIEW corpus_entries_rows AS SELECT
    entry_id, sha256, kind, role, rig, bead, session_id, task, outcome, confidence, messages, trainable, size_bytes,
    started_at, ended_at, stored_at
FROM entries;
-- The same as the journal wants them.
CREATE VIEW model_registry_told AS SELECT 'model_registry' AS table_name, name AS key, json_object(
        'name', name, 'kind', kind, 'role', role, 'base_model', base_model, 'base_digest', base_digest,
        'tokenizer_sha256', tokenizer_sha256, 'version', version, 'corpus_hash', corpus_hash, 'snapshot', snapshot,
        'parent', parent, 'job', job, 'artifact', artifact, 'artifact_path', artifact_path, 'examples', examples,
        'dpo_pairs', dpo_pairs, 'lora_rank', lora_rank, 'lora_adapters', lora_adapters,
        'compatible_with', compatible_with, 'training_config', training_config, 'conventions', conventions,
        'gtftd_version', gtftd_version, 'eval_score', eval_score, 'eval_scores_by_category', eval_scores_by_category,
        'deployment_status', deployment_status, 'deployed_to', deployed_to, 'trained_at', trained_at,
        'created_at', created_at) AS row
FROM model_registry_rows;
CREATE VIEW training_jobs_told AS SELECT 'training_jobs' AS table_name, id AS key, json_object(
        'id', id, 'role', role, 'kind', kind, 'objective', objective, 'state', state, 'snapshot', snapshot,
        'model', model, 'bead', bead, 'corpus_bead', corpus_bead, 'config', config, 'note', note,
        'created_at', created_at, 'updated_at', updated_at, 'ended_at', ended_at) AS row
FROM training_jobs_rows;
CREATE VIEW dpo_preferences_told AS SELECT 'dpo_preferences' AS table_name, id AS key, json_object(
        'id', id, 'kind', kind, 'role', role, 'rig', rig, 'bead', bead, 'snapshot', snapshot,
        'chosen_sha256', chosen_sha256, 'rejected_sha256', rejected_sha256, 'weight', weight, 'why', why,
        'created_at', created_at) AS row
FROM dpo_preferences_rows;
CREATE VIEW corpus_entries_told AS SELECT 'corpus_entries' AS table_name, entry_id AS key, json_object(
        'entry_id', entry_id, 'sha256', sha256, 'kind', kind, 'role', role, 'rig', rig, 'bead', bead,
        'session_id', session_id, 'task', task, 'outcome', outcome, 'confidence', confidence, 'messages', messages,
        'trainable', trainable, 'size_bytes', size_bytes, 'started_at', started_at, 'ended_at', ended_at,
        'stored_at', stored_at) AS row
FROM corpus_entries_rows;
CREATE TRIGGER models_insert_told AFTER INSERT ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM model_registry_told WHERE key = NEW.name;
END;
CREATE TRIGGER models_update_told AFTER UPDATE ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM model_registry_told WHERE key = NEW.name;
END;
CREATE TRIGGER models_delete_told AFTER DELETE ON models BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('model_registry', OLD.name, NULL);
END;
CREATE TRIGGER training_jobs_insert_told AFTER INSERT ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM training_jobs_told WHERE key = NEW.id;
END;
CREATE TRIGGER training_jobs_update_told AFTER UPDATE ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM training_jobs_told WHERE key = NEW.id;
END;
CREATE TRIGGER training_jobs_delete_told AFTER DELETE ON training_jobs BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('training_jobs', OLD.id, NULL);
END;
CREATE TRIGGER preferences_insert_told AFTER INSERT ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM dpo_preferences_told WHERE key = NEW.id;
END;
CREATE TRIGGER preferences_update_told AFTER UPDATE ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM dpo_preferences_told WHERE key = NEW.id;
END;
CREATE TRIGGER preferences_delete_told AFTER DELETE ON preferences BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('dpo_preferences', OLD.id, NULL);
END;
CREATE TRIGGER entries_insert_told AFTER INSERT ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM corpus_entries_told WHERE key = NEW.entry_id;
END;
CREATE TRIGGER entries_update_told AFTER UPDATE ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM corpus_entries_told WHERE key = NEW.entry_id;
END;
CREATE TRIGGER entries_delete_told AFTER DELETE ON entries BEGIN
    INSERT INTO records_journal (table_name, key, row) VALUES ('corpus_entries', OLD.entry_id, NULL);
END;
CREATE TRIGGER model_aliases_insert_told AFTER INSERT ON model_aliases WHEN NEW.alias = 'active' BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM model_registry_told WHERE key = NEW.model;
END;
CREATE TRIGGER model_aliases_delete_told AFTER DELETE ON model_aliases WHEN OLD.alias = 'active' BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM model_registry_told WHERE key = OLD.model;
END;
CREATE TRIGGER artifacts_update_told AFTER UPDATE OF removed_at ON artifacts BEGIN
    INSERT INTO records_journal (table_name, key, row) SELECT table_name, key, row FROM model_registry_told
    WHERE key IN (SELECT name FROM models WHERE artifact = NEW.digest);
END;
