"""A builder of OpenCode sessions, written as its JSON files (up to 1.1) or as its database (1.2 to 1.x)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.support.transcripts import START

ID = "ses_3bf2a1c8dffeXq1Zr0aK7mTn2P"
_SCHEMA = """
CREATE TABLE session (
  id text PRIMARY KEY, project_id text NOT NULL, parent_id text, slug text NOT NULL, directory text NOT NULL,
  title text NOT NULL, version text NOT NULL, share_url text, revert text, permission text,
  time_created integer NOT NULL, time_updated integer NOT NULL, time_compacting integer, time_archived integer);
CREATE TABLE message (
  id text PRIMARY KEY, session_id text NOT NULL, time_created integer NOT NULL, time_updated integer NOT NULL,
  data text NOT NULL);
CREATE TABLE part (
  id text PRIMARY KEY, message_id text NOT NULL, session_id text NOT NULL, time_created integer NOT NULL,
  time_updated integer NOT NULL, data text NOT NULL);
"""


class OpenCodeBuilder:
    """Grows a session message by message; every part moves the clock by `step`."""

    def __init__(
        self,
        session_id: str = ID,
        *,
        cwd: str = "/home/ada/gt/gastown/crew/max",
        start: datetime = START,
        step: timedelta = timedelta(seconds=5),
        **session: Any,
    ) -> None:
        self.now, self.step, self.cwd, self.session_id = start, step, cwd, session_id
        self._count = 0
        self.session: dict[str, Any] = {
            "id": session_id, "version": "1.1.4", "projectID": "4b0ea68d7af9a6031a7ffda7ad66e0cb83315750",
            "directory": cwd, "title": "New session", "time": {"created": self.ms(), "updated": self.ms()},
        } | session  # fmt: skip
        self.messages: list[dict[str, Any]] = []
        self.parts: dict[str, list[dict[str, Any]]] = {}

    def ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def tick(self) -> int:
        self.now += self.step
        return self.ms()

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count:012x}AbCdEfGhIjKlMn"

    def message(self, role: str, **fields: Any) -> str:
        ident = self._id("msg")
        time = {"created": self.tick()}
        self.messages.append({"id": ident, "sessionID": self.session_id, "role": role, "time": time, **fields})
        self.parts[ident] = []
        return ident

    def part(self, type_: str, **fields: Any) -> str:
        """A part of the last message."""
        message = self.messages[-1]["id"]
        ident = self._id("prt")
        whole = {"id": ident, "sessionID": self.session_id, "messageID": message, "type": type_, **fields}
        self.parts[message].append(whole)
        return ident

    def user(self, text: str) -> str:
        model = {"providerID": "anthropic", "modelID": "claude-sonnet-4-5"}
        ident = self.message("user", agent="build", model=model)
        self.part("text", text=text)
        return ident

    def assistant(self, **fields: Any) -> str:
        told = {
            "parentID": "msg_0", "modelID": "claude-sonnet-4-5", "providerID": "anthropic", "mode": "build",
            "agent": "build", "path": {"cwd": self.cwd, "root": self.cwd}, "cost": 0.01,
            "tokens": {"input": 1, "output": 1, "reasoning": 0, "cache": {"read": 0, "write": 0}},
        }  # fmt: skip
        ident = self.message("assistant", **told | fields)
        self.part("step-start", snapshot="a" * 40)
        return ident

    def text(self, text: str) -> str:
        return self.part("text", text=text, time={"start": self.tick(), "end": self.ms()})

    def say(self, text: str) -> str:
        ident = self.assistant()
        self.text(text)
        self.part("step-finish", reason="stop", cost=0.01, tokens={})
        return ident

    def tool(self, tool: str, arguments: dict[str, Any], **state: Any) -> str:
        call = f"toolu_{self._count:020d}"
        time = {"start": self.tick(), "end": self.tick()}
        known = {"status": "completed", "input": arguments, "title": tool, "metadata": {}, "output": "ok", "time": time}
        self.part("tool", callID=call, tool=tool, state=known | state)
        return call

    def bash(self, command: str, output: str = "ok", code: int = 0) -> str:
        self.assistant()
        arguments = {"command": command, "description": "run it"}
        metadata = {"output": output, "exit": code, "description": "run it"}
        return self.tool("bash", arguments, output=output, metadata=metadata)

    def write(self, data: Path) -> Path:
        """As files under `<data>/storage`; the path that names the session."""
        storage = data / "storage"
        session = storage / "session" / str(self.session["projectID"]) / f"{self.session_id}.json"
        files: dict[Path, dict[str, Any]] = {session: self.session}
        for message in self.messages:
            files[storage / "message" / self.session_id / f"{message['id']}.json"] = message
            for part in self.parts[message["id"]]:
                files[storage / "part" / message["id"] / f"{part['id']}.json"] = part
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=2))
        return session

    def write_database(self, data: Path, name: str = "opencode.db") -> Path:
        """As rows of `<data>/opencode.db`; the path that names the session."""
        data.mkdir(parents=True, exist_ok=True)
        path, updated = data / name, self.ms()
        with contextlib.closing(sqlite3.connect(path)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
            created, revert = self.session["time"]["created"], self.session.get("revert")
            row = (
                self.session_id, self.session["projectID"], self.session.get("parentID"), "slug", self.cwd, "t",
                "1.2.10", json.dumps(revert) if revert else None, created, updated,
            )  # fmt: skip
            names = "id, project_id, parent_id, slug, directory, title, version, revert, time_created, time_updated"
            database.execute(f"INSERT OR REPLACE INTO session ({names}) VALUES ({','.join('?' * 10)})", row)
            for message in self.messages:
                self._insert(database, "message", message, ("id", "sessionID"), updated)
                for part in self.parts[message["id"]]:
                    self._insert(database, "part", part, ("id", "messageID", "sessionID"), updated)
            database.commit()
        return path / self.session_id

    def _insert(self, database: sqlite3.Connection, table: str, whole: dict[str, Any], keys: Any, updated: int) -> None:
        data = json.dumps({name: value for name, value in whole.items() if name not in keys})
        created = whole["time"]["created"] if table == "message" else updated
        row = (*(whole[key] for key in keys), created, updated, data)
        database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(row))})", row)


_SECOND_SCHEMA = """
CREATE TABLE session_v2 (
  id text PRIMARY KEY, project_id text NOT NULL, parent_id text, slug text NOT NULL, directory text NOT NULL,
  title text, version text NOT NULL, revert text, time_created integer NOT NULL, time_updated integer NOT NULL);
CREATE TABLE session_message (
  id text PRIMARY KEY, session_id text NOT NULL, type text NOT NULL, seq integer NOT NULL,
  time_created integer NOT NULL, time_updated integer NOT NULL, data text NOT NULL);
"""


class SecondBuilder:
    """Grows a session as OpenCode 2 keeps it: rows of `session_message`, with all of a step in one."""

    def __init__(
        self,
        session_id: str = ID,
        *,
        cwd: str = "/home/ada/gt/gastown/crew/max",
        start: datetime = START,
        parent: str | None = None,
    ) -> None:
        self.session_id, self.cwd, self.now, self.parent = session_id, cwd, start, parent
        self.created = self.ms()
        self.revert: dict[str, Any] | None = None
        self.rows: list[tuple[str, str, int, dict[str, Any]]] = []

    def ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def tick(self) -> int:
        self.now += timedelta(seconds=5)
        return self.ms()

    def add(self, type_: str, **data: Any) -> str:
        ident = f"msg_{crc32(self.session_id.encode()):08x}{len(self.rows):04x}AbCdEfGhIjKlMn"  # sessions share a table
        at = self.tick()
        self.rows.append((ident, type_, at, {"time": {"created": at}, **data}))
        return ident

    def user(self, text: str) -> str:
        return self.add("user", text=text, files=[])

    def assistant(self, *content: dict[str, Any], **data: Any) -> str:
        model = {"id": "claude-sonnet-4-5", "providerID": "anthropic", "variant": "default"}
        return self.add("assistant", agent="build", model=model, content=list(content), finish="stop", **data)

    def say(self, text: str) -> str:
        return self.assistant({"type": "text", "text": text})

    def tool(self, name: str, arguments: dict[str, Any], **state: Any) -> dict[str, Any]:
        output = [{"type": "text", "text": "ok"}]
        known = {"status": "completed", "input": arguments, "content": output, "metadata": {"truncated": False}}
        time = {"created": self.tick(), "ran": self.tick(), "completed": self.tick()}
        ident = f"call_{self.ms():08d}"
        return {"type": "tool", "id": ident, "name": name, "executed": False, "state": known | state, "time": time}

    def bash(self, command: str, output: str = "ok", code: int = 0) -> str:
        content = [{"type": "text", "text": output}]
        return self.assistant(self.tool("shell", {"command": command}, content=content, metadata={"exit": code}))

    def write(self, data: Path) -> Path:
        data.mkdir(parents=True, exist_ok=True)
        path, updated = data / "opencode.db", self.ms()
        with contextlib.closing(sqlite3.connect(path)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'session_v2'").fetchone():
                database.executescript(_SECOND_SCHEMA)
            revert = json.dumps(self.revert) if self.revert else None
            head = (self.session_id, "p", self.parent, "s", self.cwd, "t", "2.0.12", revert, self.created, updated)
            database.execute(f"INSERT OR REPLACE INTO session_v2 VALUES ({','.join('?' * 10)})", head)
            for number, (ident, type_, at, whole) in enumerate(self.rows):
                row = (ident, self.session_id, type_, number, at, updated, json.dumps(whole))
                database.execute("INSERT OR REPLACE INTO session_message VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            database.commit()
        return path / self.session_id
