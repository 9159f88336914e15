"""Scanners for source trees on the same sessions: what they find, and how long it takes them.

A peer redacts nothing, so what it reports is taken out of the text as a redaction would, and the rest is judged like
ours. It is told everything in its favour: raw lines as they lie in a transcript, or the texts, decoded as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scrub_recall import Recall
from gtftd.town.conversation import RawMessage
from tests.support.planted import Score, Session, texts_of


@dataclass(frozen=True)
class Run:
    """One pass of a peer over some files: what it found in each."""

    findings: dict[str, list[str]]
    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Program:
    """A scanner that is a program: how it is called on a folder, and what its report calls file and secret."""

    name: str
    arguments: tuple[str, ...]
    version: tuple[str, ...]

    @property
    def path(self) -> str | None:
        folders = os.environ.get("SCRUB_PEERS", "") + os.pathsep + os.environ.get("PATH", "")
        return shutil.which(self.name, path=folders)


PROGRAMS = (
    Program(
        "gitleaks", ("dir", "{folder}", "-f", "json", "-r", "{report}", "--no-banner", "--exit-code", "0"), ("version",)
    ),
    Program("betterleaks", ("fs", "{folder}", "-o", "{report}", "--confidence", "low", "-s"), ("--version",)),
    Program(
        "kingfisher",
        (
            "scan",
            "{folder}",
            "--no-validate",
            "--format",
            "json",
            "--output",
            "{report}",
            "--confidence",
            "low",
            "--no-update-check",
        ),
        ("--version",),
    ),
)


def version_of(program: Program) -> str | None:
    """What the program says it is; None where it is not on this machine."""
    if program.path is None:
        return None
    done = subprocess.run([program.path, *program.version], capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def run_program(program: Program, folder: Path) -> Run:
    """All findings by file name. One processor, as for ours."""
    assert program.path is not None
    with tempfile.TemporaryDirectory() as outside:
        report = Path(outside) / "report.json"
        arguments = [part.format(folder=folder, report=report) for part in program.arguments]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [program.path, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            env={**os.environ, "GOMAXPROCS": "1", "HOME": outside},
            timeout=900,
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found: dict[str, list[str]] = {}
        if report.exists():
            for path, secret in _findings(report.read_text()):
                found.setdefault(Path(path).name, []).append(secret)
    return Run(found, cpu, wall)


def _findings(report: str) -> Iterator[tuple[str, str]]:
    try:
        told = json.loads(report or "[]")
    except ValueError:
        told = [json.loads(line) for line in report.splitlines() if line.startswith("{")]
    for item in _items(told):
        if "Secret" in item:
            yield str(item.get("File", "")), str(item["Secret"])
        elif "finding" in item:
            yield str(item["finding"]["path"]), str(item["finding"]["snippet"])
        else:
            yield str(item["location"]["path"]), str(item["match"]["value"])


def _items(told: object) -> Iterator[dict[str, Any]]:
    """The findings, wherever the three programs keep them."""
    if isinstance(told, list):
        for inner in told:
            yield from _items(inner)
    elif isinstance(told, dict):
        if {"Secret", "finding", "match"} & told.keys():
            yield told
        else:
            for inner in told.values():
                yield from _items(inner)


def as_transcript(session: Session) -> str:
    """The session as lines of JSON, like a transcript on disk."""
    return "\n".join(json.dumps({"role": m.role, "content": list(texts_of(m))}) for m in session.messages)


def as_text(session: Session) -> str:
    return "\n".join(text for message in session.messages for text in texts_of(message))


@dataclass(frozen=True)
class Laid:
    """Sessions as files in a folder, for programs to scan."""

    folder: Path
    sessions: Sequence[Session]
    decoded: bool

    @classmethod
    def out(cls, folder: Path, sessions: Sequence[Session], decoded: bool) -> Laid:
        laid = cls(folder, sessions, decoded)
        for at, session in enumerate(sessions):
            text = as_text(session) if decoded else as_transcript(session)
            (folder / laid.name(at)).write_text(text)
        return laid

    def name(self, at: int) -> str:
        return f"session-{at:05d}.{'txt' if self.decoded else 'jsonl'}"

    @property
    def size(self) -> int:
        return sum(session.size for session in self.sessions)


def judge_run(run: Run, laid: Laid) -> Score:
    score = Score()
    for at, session in enumerate(laid.sessions):
        score.judge(session, without(session, run.findings.get(laid.name(at), [])))
    return score


def without(session: Session, secrets: Iterable[str]) -> list[RawMessage]:
    """The session less these strings, which may be told as they stand in JSON."""
    forms = {form for secret in secrets for form in (secret, _from_json(secret)) if len(form) >= 4}
    longest_first = sorted(forms, key=len, reverse=True)
    cleaned = []
    for message in session.messages:
        text = "\n".join(texts_of(message))
        for form in longest_first:
            text = text.replace(form, "<X:0>")
        cleaned.append(RawMessage(message.role, text))
    return cleaned


def _from_json(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


@dataclass
class Found:
    """What a peer that is a library found, judged as it went."""

    recall: Recall = field(default_factory=Recall)
    findings: int = 0

    def judge(self, session: Session, values: Iterable[str | None], began: tuple[float, float]) -> None:
        spent = self.recall.spent
        secrets = [value for value in values if value]
        spent.cpu_s += time.process_time() - began[0]
        spent.wall_s += time.perf_counter() - began[1]
        spent.size += session.size
        self.findings += len(secrets)
        self.recall.score.judge(session, without(session, secrets))


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def detect_secrets_lines(sessions: Sequence[Session], limit: int) -> Found:
    """Yelp's detect-secrets, its default plugins line by line (`scan_line`), on about `limit` characters."""
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    found = Found()
    with default_settings():
        for session in sessions:
            if found.recall.spent.size >= limit:
                break
            lines = as_text(session).splitlines()
            found.judge(session, (secret.secret_value for line in lines for secret in scan_line(line)), _now())
    return found


def detect_secrets_files(sessions: Sequence[Session], limit: int) -> Found:
    """The same, as its command line scans files: with its filters."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    found = Found()
    with tempfile.TemporaryDirectory() as name, default_settings():
        for at, session in enumerate(sessions):
            if found.recall.spent.size >= limit:
                break
            path = Path(name) / f"session-{at:05d}.txt"
            path.write_text(as_text(session))
            secrets = SecretsCollection()
            began = _now()
            secrets.scan_file(str(path))
            found.judge(session, (secret.secret_value for _, secret in secrets), began)
    return found
