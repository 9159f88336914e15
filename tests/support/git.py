"""A real git repository with a history that a test writes."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 5, 10, tzinfo=UTC)


class Repository:
    """Commits without files, one a minute; nothing of this user's configuration takes part."""

    def __init__(self, folder: Path, *, bare: bool = False, start: datetime = START) -> None:
        self.folder = folder
        self.now = start
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []))

    def git(self, *arguments: str, author: str = "overseer") -> str:
        stamp = self.now.isoformat()
        who = {"NAME": author, "EMAIL": "agent@example.invalid", "DATE": stamp}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        environ |= {f"GIT_{part}_{key}": value for part in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environ, capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    def commit(self, message: str, author: str = "overseer", *, after: timedelta = timedelta(minutes=1)) -> str:
        """On main, whatever is checked out; its sha."""
        self.now += after
        tree = self.git("hash-object", "-w", "-t", "tree", os.devnull)
        try:
            parents = ["-p", self.git("rev-parse", "--verify", "--quiet", "refs/heads/main")]
        except subprocess.CalledProcessError:
            parents = []
        sha = self.git("commit-tree", tree, *parents, "-m", message, author=author)
        self.git("update-ref", "refs/heads/main", sha)
        return sha

    def revert(self, sha: str, subject: str, *, after: timedelta = timedelta(minutes=1)) -> str:
        return self.commit(f'Revert "{subject}"\n\nThis reverts commit {sha}.', after=after)
