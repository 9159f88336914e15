"""The tables of a beads database as a poller meets them (gastown.md 5.4), new and as of early 2026."""

from __future__ import annotations

from typing import Literal

Schema = Literal["new", "old"]

_ISSUE = """
    id VARCHAR(255) PRIMARY KEY NOT NULL, content_hash VARCHAR(64), title VARCHAR(500) NOT NULL DEFAULT '',
    description LONGTEXT NOT NULL DEFAULT '', design LONGTEXT NOT NULL DEFAULT '',
    acceptance_criteria LONGTEXT NOT NULL DEFAULT '', notes LONGTEXT NOT NULL DEFAULT '',
    status VARCHAR(32) NOT NULL DEFAULT 'open', priority INT NOT NULL DEFAULT 2,
    issue_type VARCHAR(32) NOT NULL DEFAULT 'task', assignee VARCHAR(255), estimated_minutes INT,
    created_at DATETIME NOT NULL, created_by VARCHAR(255) DEFAULT '', owner VARCHAR(255) DEFAULT '',
    updated_at DATETIME NOT NULL, started_at DATETIME, closed_at DATETIME,
    closed_by_session VARCHAR(255) DEFAULT '', external_ref VARCHAR(255), spec_id VARCHAR(1024),
    close_reason TEXT DEFAULT '', sender VARCHAR(255) DEFAULT '', ephemeral TINYINT(1) DEFAULT 0,
    wisp_type VARCHAR(32) DEFAULT '', pinned TINYINT(1) DEFAULT 0, is_template TINYINT(1) DEFAULT 0,
    mol_type VARCHAR(32) DEFAULT '', work_type VARCHAR(32) DEFAULT '', source_system VARCHAR(255) DEFAULT '',
    metadata JSON DEFAULT '{}', source_repo VARCHAR(512) DEFAULT '', event_kind VARCHAR(32) DEFAULT '',
    actor VARCHAR(255) DEFAULT '', target VARCHAR(255) DEFAULT '', payload TEXT DEFAULT '',
    await_type VARCHAR(32) DEFAULT '', await_id VARCHAR(255) DEFAULT '', timeout_ns BIGINT DEFAULT 0,
    waiters TEXT DEFAULT '', hook_bead VARCHAR(255) DEFAULT '', role_bead VARCHAR(255) DEFAULT '',
    agent_state VARCHAR(32) DEFAULT '', last_activity DATETIME, role_type VARCHAR(32) DEFAULT '',
    rig VARCHAR(255) DEFAULT '', due_at DATETIME, defer_until DATETIME"""
_ISSUE_NEW = ", no_history TINYINT(1) DEFAULT 0, is_blocked TINYINT(1) NOT NULL DEFAULT 0"
_ISSUE_OLD = ", quality_score DOUBLE, crystallizes TINYINT(1) DEFAULT 0"

_EVENT = """
    issue_id VARCHAR(255) NOT NULL, event_type VARCHAR(32) NOT NULL, actor VARCHAR(255) NOT NULL,
    old_value LONGTEXT, new_value LONGTEXT, comment TEXT, created_at DATETIME NOT NULL"""

_DEPENDENCY = """
    type VARCHAR(32) NOT NULL DEFAULT 'blocks', created_at DATETIME NOT NULL,
    created_by VARCHAR(255) NOT NULL DEFAULT '', metadata JSON DEFAULT '{}', thread_id VARCHAR(255) DEFAULT ''"""
_TARGETS = {
    "new": "id CHAR(36) PRIMARY KEY NOT NULL, issue_id VARCHAR(255) NOT NULL, depends_on_issue_id VARCHAR(255),"
    " depends_on_wisp_id VARCHAR(255), depends_on_external VARCHAR(255)",
    "old": "issue_id VARCHAR(255) NOT NULL, depends_on_id VARCHAR(255) NOT NULL",
}
_LABEL = "issue_id VARCHAR(255) NOT NULL, label VARCHAR(255) NOT NULL, PRIMARY KEY (issue_id, label)"
_KEY = {"new": "id CHAR(36) PRIMARY KEY NOT NULL", "old": "id INTEGER PRIMARY KEY AUTOINCREMENT"}


def create_statements(schema: Schema) -> list[str]:
    """The statements that make an empty database of this schema; harmless where it exists."""
    issue = _ISSUE + (_ISSUE_NEW if schema == "new" else _ISSUE_OLD)
    statements = []
    for table, aside in (("issues", ""), ("wisps", "wisp_")):
        comment = f"{_KEY[schema]}, issue_id VARCHAR(255) NOT NULL, author VARCHAR(255) NOT NULL, text LONGTEXT"
        bodies = {
            table: issue,
            f"{aside}events": f"{_KEY[schema]}, {_EVENT}",
            f"{aside}dependencies": f"{_TARGETS[schema]}, {_DEPENDENCY}",
            f"{aside}labels": _LABEL,
            f"{aside}comments": f"{comment}, created_at DATETIME NOT NULL",
        }
        statements += [f"CREATE TABLE IF NOT EXISTS {name} ({body})" for name, body in bodies.items()]
        statements.append(f"CREATE INDEX IF NOT EXISTS {aside}events_created ON {aside}events (created_at)")
    for table in ("config", "metadata"):
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {table} (`key` VARCHAR(255) PRIMARY KEY NOT NULL, value LONGTEXT)"
        )
    return statements
