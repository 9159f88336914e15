"""A sample town with canaries in it: in its files, its beads, its feed, its sessions, its commits."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.repository import branch_of
from gtftd.town.hook_script import script_path
from gtftd.town.spool import Spool
from tests.support.canaries import WRITTEN, Aviary, env_file, git_credentials, json_line
from tests.support.town import SampleTown
from tests.support.transcripts import TranscriptBuilder
from tests.support.transcripts_codex import RolloutBuilder
from tests.support.transcripts_opencode import OpenCodeBuilder, SecondBuilder

STEP = timedelta(milliseconds=100)
NUX = "harbor/polecats/nux"


@dataclass
class CanaryTown:
    """`size` is about a tenth of how many canaries there will be. Files first, then the daemon, then what lives."""

    town: SampleTown
    state_dir: Path
    birds: Aviary
    size: int
    refused: list[Path] = field(default_factory=list)
    """Curated files with a mistake in them."""
    good: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.town.root
        self.home = Path(self.town.environ["HOME"])
        self.claude = self.root / ".claude-config"
        self.sessions = 0
        """How many the daemon shall know in the end."""

    # -- before the daemon starts

    def plant_files(self) -> None:
        self._plant_known()
        self._plant_documents()
        self._plant_interactions()
        self._plant_curated()
        self._plant_commits()
        for name, prefix in (("hq", "hq"), ("harbor", "hb"), ("lantern", "ln")):
            self._plant_beads(name, prefix, "history", max(1, self.size // 24))

    def _plant_known(self) -> None:
        birds, rig = self.birds, self.root / "harbor"
        for path in (self.root / ".env", rig / ".env", rig / "mayor" / "rig" / ".env.local"):
            path.write_text(env_file(birds.invent_known(3)))
        (self.home / ".git-credentials").write_text(git_credentials(birds.invent_known(2)))
        daemon = self.root / "mayor" / "daemon.json"
        told = json.loads(daemon.read_text()) | {"env": dict(birds.invent_known(2))}
        daemon.write_text(json.dumps(told))

    def _plant_documents(self) -> None:
        rig = self.root / "harbor"
        clone = rig / "mayor" / "rig"
        places = [
            (self.root / "CLAUDE.md", "town CLAUDE.md"),
            (self.root / "AGENTS.md", "town AGENTS.md"),
            (clone / "CLAUDE.md", "rig CLAUDE.md"),
            (clone / "AGENTS.md", "rig AGENTS.md"),
            (self.root / "directives" / "polecat.md", "directive"),
            (rig / "directives" / "witness.md", "rig directive"),
            (self.root / "plugins" / "tides" / "plugin.md", "plugin"),
            (rig / "plugins" / "lamps" / "plugin.md", "rig plugin"),
            (clone / "docs" / "deploy.md", "docs"),
            (clone / "plans" / "next.md", "plan"),
            (clone / "spec.md", "spec"),
            (self.root / "roles" / "witness.toml", "role"),
        ]
        for path, place in places:
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text() if path.exists() else ""
            mark = "# " if path.suffix == ".toml" else ""
            parts = [self.birds.text(place) for _ in range(max(1, self.size // 24))]
            more = "\n\n".join(parts)
            path.write_text(before + "\n" + "\n".join(mark + line for line in more.split("\n")) + "\n")
        for number in range(max(2, self.size // 24)):
            self._formula(f"watch-{number}")
            name = f"{self.birds.word('name of a document')}.md"
            (clone / "docs" / name).write_text(f"# Notes\n\n{self.birds.text('docs')}\n")

    def _formula(self, name: str) -> None:
        birds = self.birds
        text = (
            f'formula = {json.dumps(name)}\ntype = "workflow"\nversion = 1\n'
            f"description = {json.dumps(birds.text('formula'))}\n\n"
            f"[vars.place]\ndescription = {json.dumps(birds.line('formula'))}\n"
            f"default = {json.dumps(birds.word('formula'))}\n\n"
            f'[[steps]]\nid = "look"\ntitle = {json.dumps(birds.line("formula"))}\n'
            f"description = {json.dumps(birds.text('formula'))}\n# {birds.line('formula')}\n"
        )
        (self.root / ".beads" / "formulas" / f"{name}.formula.toml").write_text(text)

    def change_documents(self) -> None:
        """While the daemon watches."""
        (self.root / "CLAUDE.md").write_text(f"# Town\n\n{self.birds.text('changed CLAUDE.md')}\n")
        self._formula("watch-0")
        self._formula(f"new-{self.birds.word('name of a formula')}")
        (self.root / "directives" / "polecat.md").write_text(f"{self.birds.text('changed directive')}\n")

    def _plant_interactions(self) -> None:
        birds = self.birds
        for folder in (self.root / ".beads", self.root / "harbor" / "mayor" / "rig" / ".beads"):
            lines = []
            for number in range(max(1, self.size // 24)):
                place = "interactions.jsonl"
                common = {"created_at": now().isoformat(), "actor": NUX, "issue_id": f"hb-in{number}"}
                said = {"prompt": birds.text(place), "response": birds.text(place), "model": "m"}
                lines.append(json_line(id=f"c{number}", kind="llm_call", **common, **said))
                extra = {"deep": [{"er": birds.text(place)}]}
                told = {"tool_name": "Bash", "error": birds.text(place), "exit_code": 1, "extra": extra}
                lines.append(json_line(id=f"t{number}", kind="tool_call", **common, **told))
                reason = {"label": birds.line(place), "reason": birds.line(place), "parent_id": f"c{number}"}
                lines.append(json_line(id=f"l{number}", kind="label", **common, **reason))
                lines.append(f'{{"kind": "llm_call", "prompt": {json.dumps(birds.text("broken interaction"))}\n')
                lines.append(json_line(id=f"u{number}", kind=birds.word("unknown kind of interaction")))
            (folder / "interactions.jsonl").write_text("".join(lines))

    def _plant_curated(self) -> None:
        birds, folder = self.birds, self.town.folder / "curated"
        folder.mkdir()
        examples = []
        for number in range(max(4, self.size // 6)):
            place = "curated example"
            call = {"id": "c1", "name": "Bash", "arguments": {"command": birds.line(place), "note": birds.text(place)}}
            turns: list[dict[str, object]] = [
                {"role": "system", "content": birds.text(place)},
                {"role": "user", "content": f"Task {number}: {birds.text(place)}"},
                {"role": "assistant", "content": birds.text(place), "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "\n".join(birds.chunks(place, WRITTEN))},
                {"role": "assistant", "content": f"Done with {number}. {birds.line(place)}"},
            ]
            examples.append(json_line(messages=turns, title=birds.line(place), outcome="merged"))
        self.good = [folder / "good.jsonl", folder / f"{birds.word('name of a curated file')}.md"]
        self.good[0].write_text("".join(examples))
        self.good[1].write_text(f"# {birds.line('curated text')}\n\n{birds.text('curated text')}\n")
        place = "refused curated file"
        turn = {"role": "user", "content": "x"}
        broken = [
            f'{{"messages": [{json.dumps(birds.text(place))}\n',
            json_line(messages=[turn], outcome=birds.word(place)),
            json_line(messages=[turn], task=birds.word(place)),
            json_line(messages=[{"role": birds.word(place), "content": birds.line(place)}]),
            json_line(messages=[birds.line(place)]),
            json_line(messages=[{"role": "assistant", "tool_calls": birds.line(place)}]),
            json_line(messages=birds.line(place)),
        ]
        for number, text in enumerate(broken):
            self.refused.append(folder / f"refused-{number}.jsonl")
            self.refused[-1].write_text(text)

    def _plant_commits(self) -> None:
        """On a main branch, in messages that name beads."""
        clone = self.root / "harbor" / "mayor" / "rig"
        assert branch_of(clone) == "main"
        who = {f"GIT_{part}_{key}": value for part in ("AUTHOR", "COMMITTER")
               for key, value in {"NAME": NUX, "EMAIL": "nux@example.invalid"}.items()}  # fmt: skip
        quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for number in range(max(3, self.size // 12)):
            subject = f"fix: {self.birds.line('commit')} (hb-co{number})"
            body = f"{subject}\n\n{self.birds.text('commit')}\n"
            command = ["git", "commit", "--quiet", "--allow-empty", "--file", "-"]
            subprocess.run(command, cwd=clone, input=body, text=True, env=os.environ | who | quiet, check=True)

    # -- while it runs

    def _plant_beads(self, database: str, prefix: str, when: str, count: int) -> None:
        birds = self.birds
        beads = Beads(folder_of(self.root), database, prefix)
        try:
            for number in range(count):
                place = f"bead ({when})"
                bead = beads.create(
                    birds.line(f"{place} title"),
                    actor="mayor",
                    description=birds.text(f"{place} description"),
                    labels=(birds.word(f"{place} label"), "area:tide"),
                    design=birds.text(f"{place} design"),
                    notes=birds.text(f"{place} notes"),
                    acceptance_criteria=birds.text(f"{place} acceptance"),
                )
                beads.hook(bead, NUX, "mayor")
                beads.comment(bead, birds.text(f"{place} comment"), NUX)
                beads.update(bead, NUX, notes=birds.text(f"{place} notes"), status="in_progress")
                beads.close(bead, birds.line(f"{place} close reason"), NUX)
                if number % 2:
                    beads.reopen(bead, "mayor")
                    beads.close(bead, f"Merged in {birds.line(f'{place} second close reason')}", NUX)
                self._plant_merge_request(beads, bead, place)
            convoy = beads.create(birds.line("convoy"), actor="mayor", issue_type="convoy",
                                  description=birds.text("convoy"))  # fmt: skip
            beads.depend(convoy, bead, "mayor", kind="tracks")
            mail = beads.create(birds.line("mail bead"), actor=NUX, issue_type="message",
                                description=birds.text("mail bead"), wisp=True, labels=("gt:message",))  # fmt: skip
            beads.close(mail, birds.line("mail bead"), "mayor")
        finally:
            beads.close_connection()

    def _plant_merge_request(self, beads: Beads, bead: str, place: str) -> None:
        birds = self.birds
        fields = f"branch: polecat/nux/{bead}\ntarget: main\nsource_issue: {bead}\nrig: harbor\nworker: {NUX}\n"
        request = beads.create(
            f"Merge: {bead}",
            actor=NUX,
            issue_type="merge-request",
            wisp=True,
            labels=("gt:merge-request",),
            description=f"{fields}\n{birds.text('merge request')}",
            metadata=json.dumps({"note": birds.line("merge request: unread metadata")}),
        )
        beads.close(request, f"rejected: {birds.line('merge request close reason')}", "harbor/refinery")

    def live(self) -> None:
        """What happens in the town while the daemon looks."""
        for name, prefix in (("hq", "hq"), ("harbor", "hb"), ("lantern", "ln")):
            self._plant_beads(name, prefix, "live", max(1, self.size // 24))
        for number in range(max(2, self.size // 12)):
            self._claude_session(number)
        self._codex_session()
        self._opencode_sessions()
        self._feed()
        self._spool()
        self.change_documents()

    def _claude_session(self, number: int) -> None:
        """Of a polecat with a bead of its own, with hooks; every third of a crew, found by the sweep."""
        cwd = self.root / "harbor" / "polecats" / "nux" / "harbor"
        bead = f"hb-se{number}"
        session = TranscriptBuilder(str(uuid.uuid4()), cwd=str(cwd), start=now() - timedelta(seconds=30), step=STEP)
        birds = self.birds
        session.hook(birds.text("claude: session start hook"))
        session.user(f"Work on {bead}. {birds.text('claude: user text')}")
        for value in self._known_in_turn(4):
            self._results(session, birds.known_text("claude: known value in a result", value))
        for _ in range(5):
            self._results(session, birds.chunks("claude: tool result", WRITTEN))
        session.bash(birds.line("claude: command"), birds.text("claude: tool result"))
        ident = session.call("Write", file_path="notes.txt", content=birds.text("claude: tool argument"))
        session.result(ident, [{"type": "text", "text": birds.text("claude: result in blocks")}])
        ident = session.call("Edit", edits=[{"old": birds.line("claude: deep argument"), "new": {"x": birds.text(
            "claude: deep argument")}}])  # fmt: skip
        session.result(ident, birds.text("claude: failed result"), is_error=True)
        session.assistant({"type": "thinking", "thinking": birds.text("claude: thinking"), "signature": "s"})
        session.say(birds.text("claude: assistant text"))
        session.add("system", content=birds.text("claude: system line"), subtype="local_command")
        session.add("summary", summary=birds.line("claude: summary"), leafUuid=session.parent)
        session.lines[-1]["gitBranch"] = birds.word("claude: branch")
        session.bash(f"bd close {bead} --reason '{birds.word('claude: close reason')}'")
        session.say(f"All done. {birds.line('claude: assistant text')}")
        content = session.encode()
        broken = f'{{"type": "user", "message": {{"content": {json.dumps(birds.text("claude: broken line"))}\n'
        content += broken.encode() + birds.word("claude: line without JSON").encode() + b"\n"
        path = session.write(self.claude)
        self.sessions += 1
        path.write_bytes(content)
        if number % 3 != 2:
            self._hooks(session.session_id, path, cwd)

    def _results(self, session: TranscriptBuilder, chunks: list[str]) -> None:
        for chunk in chunks:
            session.bash("tail -n 40 build.log", chunk)

    def _known_in_turn(self, count: int) -> Iterator[str]:
        for _ in range(count):
            (_, value) = self.birds.known[0]
            self.birds.known.append(self.birds.known.pop(0))
            yield value

    def _hooks(self, session: str, path: Path, cwd: Path) -> None:
        birds = self.birds
        env = {
            "GT_ROLE": NUX,
            "GT_RIG": "harbor",
            "GT_ROOT": str(self.root),
            "BD_ACTOR": NUX,
            "PATH": os.environ["PATH"],
        }
        common = {"session_id": session, "transcript_path": str(path), "cwd": str(cwd)}
        for said in (
            {"hook_event_name": "SessionStart", "source": "startup", "prompt": birds.text("hook: unknown field")},
            {"hook_event_name": "Stop", "last_message": birds.text("hook: unknown field")},
            {"hook_event_name": "SessionEnd", "reason": birds.line("hook: reason")},
            {"hook_event_name": birds.word("hook: unknown event")},
        ):
            self._hook("claude", stdin=json.dumps(common | said), env=env)

    def _hook(self, *words: str, stdin: str = "", env: dict[str, str]) -> None:
        done = subprocess.run([script_path(self.state_dir), *words], input=stdin, text=True, env=env, cwd=self.root)
        assert done.returncode == 0

    def _codex_session(self) -> None:
        birds = self.birds
        cwd = self.root / "harbor" / "crew" / "max"
        session = RolloutBuilder(str(uuid.uuid4()), cwd=str(cwd), start=now() - timedelta(seconds=30), step=STEP)
        for _ in range(max(2, self.size // 24)):
            session.user(birds.text("codex: user text"))
            session.think(birds.text("codex: thinking"))
            session.shell(birds.line("codex: command"), "\n".join(birds.chunks("codex: output", WRITTEN)))
            session.exec(birds.text("codex: command"), birds.text("codex: output"), code=1)
            for chunk in birds.chunks("codex: output", WRITTEN):
                session.exec("tail -f build.log", chunk)
            for value in self._known_in_turn(2):
                session.exec("env", "\n".join(birds.known_text("codex: known value", value, ("plain", "json", "url"))))
            session.say(birds.text("codex: assistant text"))
        session.add("compacted", message=birds.text("codex: summary"))
        session.write(self.home / ".codex")
        self.sessions += 1

    def _opencode_sessions(self) -> None:
        birds, cwd = self.birds, str(self.root / "harbor" / "crew" / "max")
        data, start = self.home / ".local" / "share" / "opencode", now() - timedelta(seconds=30)
        for number in range(max(1, self.size // 24)):
            session = OpenCodeBuilder(f"ses_{uuid.uuid4().hex[:26]}", cwd=cwd, start=start, step=STEP)
            session.session["title"] = birds.line("opencode: title")
            session.user(birds.text("opencode: user text"))
            for chunk in birds.chunks("opencode: output", WRITTEN):
                session.bash(birds.line("opencode: command"), chunk)
            session.say(birds.text("opencode: assistant text"))
            if number % 2:
                session.write(data)
            else:
                session.write_database(data)
            second = SecondBuilder(f"ses_{uuid.uuid4().hex[:26]}", cwd=cwd, start=start - timedelta(minutes=5))
            second.user(birds.text("opencode 2: user text"))
            second.bash(birds.line("opencode 2: command"), "\n".join(birds.chunks("opencode 2: output", WRITTEN)))
            second.say(birds.text("opencode 2: assistant text"))
            second.write(data)
            self.sessions += 2

    def _feed(self) -> None:
        birds, lines = self.birds, []
        for number in range(max(1, self.size // 12)):
            said: list[tuple[str, dict[str, object]]] = [
                ("nudge", {"rig": "harbor", "target": "nux", "reason": birds.line("feed: nudge reason")}),
                ("mail", {"to": "mayor/", "subject": birds.line("feed: mail subject")}),
                ("session_death", {"session": f"hb-s{number}", "reason": birds.line("feed: death reason")}),
                ("weather", {"sky": {"deep": [birds.text("feed: unknown type")]}, birds.word("feed: key"): 1}),
                ("escalation_sent", {"target": f"hb-e{number}", "reason": birds.text("feed: escalation")}),
                ("done", {"bead": f"hb-d{number}", "note": birds.text("feed: unread field of a known type")}),
            ]
            for kind, payload in said:
                told = {"ts": now().isoformat(), "source": "gt", "type": kind, "actor": NUX, "payload": payload}
                lines.append(json_line(**told, visibility="both"))
            lines.append(f'{{"ts": "x", "type": "mail", "payload": {json.dumps(birds.line("feed: bad time"))}}}\n')
            lines.append(f'{{"ts": {json.dumps(birds.line("feed: broken line"))}\n')
        with (self.root / ".events.jsonl").open("a") as feed:
            feed.writelines(lines)

    def _spool(self) -> None:
        """Reports that are whole and not understood, and those that nobody can read."""
        birds, spool = self.birds, Spool(self.state_dir / "spool")
        env = {"PATH": os.environ["PATH"], "GT_ROLE": NUX, "BD_ACTOR": birds.word("hook: actor of a bead hook")}
        self._hook("bead", "hb-spool", "create", env=env)
        self._hook("bead", "hb-spool", birds.word("hook: change of a bead"), env=env)
        self._hook("bead", birds.word("hook: name of a bead") + "!", "create", env=env)
        self._hook("claude", stdin=f"{{{birds.line('hook: broken payload')}", env=env)
        (spool.new / "claude-poison").write_text(birds.text("spool: no spool file"))
        spool.put_event(json.dumps({"specversion": "1.0", "type": birds.word("emit: unknown type")}).encode())


def now() -> datetime:
    return datetime.now(UTC)
