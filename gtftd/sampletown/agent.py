"""One Claude Code session of one agent: its environment, its transcript, its hooks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from gtftd.sampletown.claudehooks import run_claude_hooks
from gtftd.sampletown.repository import branch_of
from gtftd.sampletown.transcript import Block, Transcript, project_folder
from gtftd.sampletown.world import World, base_environ, rig_named
from gtftd.town.identity import Identity

MODELS = {"mayor": "claude-opus-4-5-20251101", "crew": "claude-opus-4-5-20251101", "boot": "claude-haiku-4-5-20251001"}
DEFAULT_MODEL = "claude-sonnet-4-5-20250929"
Steps = Iterator[float]
"""A flow: yields how many town seconds pass before its next step."""


class AgentSession:
    """Lives from `start` to `end`, `reap` or `die`; only `end` runs SessionEnd, as in reality.

    `work_bead` is what hung on the hook when the process started: its environment keeps saying so.
    """

    def __init__(self, world: World, identity: Identity, *, work_bead: str | None = None) -> None:
        self.world = world
        self.identity = identity
        self.session_id = str(uuid.uuid4())
        self.tmux_session = tmux_name(identity)
        self.cwd = home_of(world.root, identity)
        self.is_alive = False
        self.bead: str | None = None
        self._environ = agent_environ(world, identity, self.tmux_session, work_bead)
        world.environs[identity.actor] = self._environ
        self.transcript = Transcript(
            project_folder(world.claude_dir, self.cwd) / f"{self.session_id}.jsonl",
            cwd=self.cwd,
            branch=branch_of(self.cwd),
            model=MODELS.get(identity.role, DEFAULT_MODEL),
            clock=world.now,
        )

    @property
    def actor(self) -> str:
        return self.identity.actor

    def start(self, topic: str = "") -> None:
        """SessionStart hooks, gt's own line in the feed, and the context that `gt prime` prints."""
        self.is_alive = True
        self.world.sessions[self.tmux_session] = self
        self.world.truth.started(self.session_id, self.identity, self.tmux_session, self.transcript.path)
        self._run_hooks("SessionStart", source="startup")
        self._announce(topic)
        snapshot = {"type": "file-history-snapshot", "messageId": str(uuid.uuid4()), "isSnapshotUpdate": False}
        self.transcript.bare(snapshot)
        primed = f"SessionStart hook success: you are {self.actor}. Check your hook: `gt hook`."
        self.meta(f"<system-reminder>\n{primed}\n</system-reminder>")
        self.world.beat(self.tmux_session, "idle", None)

    def prompt(self, text: str) -> None:
        self.transcript.user(text)

    def meta(self, text: str) -> None:
        self.transcript.user([{"type": "text", "text": text}], isMeta=True)

    def say(self, text: str, *, side: bool = False) -> None:
        self.transcript.assistant({"type": "text", "text": text}, side=side, tokens=len(text) // 4)

    def think(self, text: str) -> None:
        signature = uuid.uuid4().hex * 2
        self.transcript.assistant({"type": "thinking", "thinking": text, "signature": signature})

    def call(self, tool: str, arguments: Block, *, side: bool = False) -> str:
        """The line with the tool call; its id. The tool runs after this."""
        key = "toolu_01" + uuid.uuid4().hex[:22]
        self.transcript.assistant({"type": "tool_use", "id": key, "name": tool, "input": arguments}, side=side)
        return key

    def answer(self, key: str, output: str, *, error: bool = False, blocks: bool = False, side: bool = False) -> None:
        """The tool's result, as text or as a list of blocks."""
        content: object = [{"type": "text", "text": output}] if blocks else output
        block: Block = {"tool_use_id": key, "type": "tool_result", "content": content, "is_error": error}
        result = {"stdout": output, "stderr": "", "interrupted": False, "isImage": False}
        self.transcript.user([block], side=side, toolUseResult=result)

    def run(self, tool: str, arguments: Block, output: str, *, error: bool = False, side: bool = False) -> None:
        """A call and its result, for tools that change nothing in the town."""
        blocks = tool in ("Task", "Read") and not error
        self.answer(self.call(tool, arguments, side=side), output, error=error, blocks=blocks, side=side)

    def bash(self, command: str, output: str, *, error: bool = False, side: bool = False) -> None:
        self.run(
            "Bash",
            {"command": command, "description": command.split("\n", maxsplit=1)[0][:50]},
            output,
            error=error,
            side=side,
        )

    def stop(self) -> None:
        """The turn ends."""
        self._run_hooks("Stop", stop_hook_active=False)

    def compact(self, summary: str) -> None:
        """The same session and file go on; gt announces the session a second time."""
        self.transcript.compact(summary)
        self._run_hooks("SessionStart", source="compact")
        self._announce("")

    def end(self, reason: str = "other") -> None:
        self._leave("ended")
        self._run_hooks("SessionEnd", reason=reason)

    def reap(self) -> None:
        """Gt kills an idle session: no SessionEnd, a line in the feed."""
        self._leave("reaped")
        self._report_death("idle-reap: idle for 15m", "daemon")

    def die(self) -> None:
        self._leave("died")
        self._report_death("crash: pane exited", "daemon")

    def _leave(self, how: str) -> None:
        self.is_alive = False
        self.world.sessions.pop(self.tmux_session, None)
        record = self.world.truth.sessions[self.session_id]
        record.ended = "died" if how == "died" else "reaped" if how == "reaped" else "ended"

    def _report_death(self, reason: str, caller: str) -> None:
        payload = {"session": self.tmux_session, "agent": self.actor, "reason": reason, "caller": caller}
        self.world.feed.append("session_death", self.tmux_session, payload)

    def _announce(self, topic: str) -> None:
        payload: Block = {
            "session_id": self.session_id,
            "role": self._environ["GT_ROLE"],
            "actor_pid": f"{self.actor}-{os.getpid()}",
        }
        payload |= {"cwd": str(self.cwd)} | ({"topic": topic} if topic else {})
        spelling = "mayor/" if self.identity.role == "mayor" else self.actor  # gt spells it both ways
        self.world.feed.append("session_start", spelling, payload)

    def _run_hooks(self, event: str, **more: object) -> None:
        payload = {
            "session_id": self.session_id, "transcript_path": str(self.transcript.path), "cwd": str(self.cwd),
            "permission_mode": "bypassPermissions", **more,
        }  # fmt: skip
        environ = self._environ | {"CLAUDE_PROJECT_DIR": str(self.cwd)}
        run_claude_hooks(self.world.claude_dir, event, payload, environ, self.cwd)


def tmux_name(identity: Identity) -> str:
    """Gt's session names carry the rig's beads prefix (gastown.md 1.6)."""
    if identity.rig is None:
        return f"hq-{identity.role}"
    prefix = rig_named(identity.rig).prefix
    if identity.role == "polecat":
        return f"{prefix}-{identity.name}"
    return f"{prefix}-crew-{identity.name}" if identity.role == "crew" else f"{prefix}-{identity.role}"


def home_of(root: Path, identity: Identity) -> Path:
    match identity.role:
        case "boot":
            return root / "deacon/dogs/boot"
        case "polecat":
            return root / str(identity.rig) / "polecats" / str(identity.name) / str(identity.rig)
        case "crew":
            return root / str(identity.rig) / "crew" / str(identity.name)
        case "refinery":
            return root / str(identity.rig) / "refinery/rig"
        case "witness":
            return root / str(identity.rig) / "witness"
        case role:
            return root / role


def agent_environ(world: World, identity: Identity, tmux_session: str, work_bead: str | None) -> dict[str, str]:
    """What gt puts around an agent (gastown.md 1.5)."""
    environ = base_environ() | {
        "GT_ROLE": identity.actor, "GT_ROOT": str(world.root), "GT_SESSION": tmux_session, "GT_AGENT": "claude",
        "GT_RUN": str(uuid.uuid4()), "GT_SESSION_ID_ENV": "CLAUDE_SESSION_ID", "GT_PROCESS_NAMES": "node,claude",
        "GT_DOLT_PORT": str(world.port), "BEADS_DOLT_PORT": str(world.port), "BEADS_DOLT_SERVER_HOST": "127.0.0.1",
        "BEADS_DOLT_AUTO_START": "0", "BD_ACTOR": identity.actor, "BEADS_AGENT_NAME": identity.actor,
        "GIT_AUTHOR_NAME": identity.actor, "BD_BACKUP_ENABLED": "false", "CLAUDE_CONFIG_DIR": str(world.claude_dir),
        "NODE_OPTIONS": "", "CLAUDECODE": "", "GT_PANE_ID": f"%{len(world.sessions) + 1}",
    }  # fmt: skip
    if identity.rig:
        environ["GT_RIG"] = identity.rig
    if identity.role == "polecat":
        environ |= {"GT_POLECAT": str(identity.name), "BD_DOLT_AUTO_COMMIT": "off"}
        environ["GT_POLECAT_PATH"] = str(home_of(world.root, identity))
    if identity.role == "crew":
        environ["GT_CREW"] = str(identity.name)
    if work_bead:
        environ |= {"GT_WORK_BEAD": work_bead, "GT_WORK_RIG": identity.rig or "", "GT_WORK_MOL": "mol-polecat-work"}
    return environ
