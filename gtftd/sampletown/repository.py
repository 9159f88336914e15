"""Small git repositories for the rigs: real ones where git is installed, else what a reader of HEAD needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from gtftd.errors import NotReady

GIT_S = 30.0


def make_repository(folder: Path) -> None:
    """A repository with everything in `folder` in one commit on `main`."""
    if not _has_git():
        _write_head(folder, "main")
        return
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "chore: start the project")


def add_worktree(repository: Path, folder: Path, branch: str) -> None:
    """A checkout of the repository's `main` on a branch of its own."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _has_git():
        _git(repository, "worktree", "add", "--quiet", "-b", branch, str(folder))
    else:
        _copy(repository, folder, branch)


def clone_repository(repository: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _has_git():
        _git(repository, "clone", "--quiet", "--no-hardlinks", str(repository), str(folder))
    else:
        _copy(repository, folder, "main")


def land_commit(repository: Path, message: str, author: str, at: datetime) -> str | None:
    """A commit on `main` that changes no file: agents' files are only told of. Its sha; None without git."""
    if not _has_git():
        return None
    stamp = at.isoformat(timespec="seconds")
    who = {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
    parent = _git(repository, "rev-parse", "refs/heads/main")
    sha = _git(repository, "commit-tree", f"{parent}^{{tree}}", "-p", parent, "-m", message, more=who)
    _git(repository, "update-ref", "refs/heads/main", sha, parent)
    return sha


def branch_of(folder: Path) -> str:
    """The branch that HEAD names, of a repository or a worktree; `HEAD` when it names none."""
    git = folder / ".git"
    try:
        if git.is_file():
            git = Path(git.read_text().removeprefix("gitdir:").strip())
        head = (git / "HEAD").read_text().strip()
    except OSError:
        return "HEAD"
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref:") else "HEAD"


def set_branch(folder: Path, branch: str) -> None:
    """Move a worktree to a new branch at the same commit, as gt does between two tasks."""
    if _has_git():
        _git(folder, "checkout", "--quiet", "-B", branch)
    else:
        _write_head(folder, branch)


def _has_git() -> bool:
    return shutil.which("git") is not None


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str:
    """What git prints, run with nothing of this user's configuration. Raises NotReady when it fails."""
    who = {"NAME": "sample", "EMAIL": "sample@example.invalid", "DATE": "2026-01-05T08:00:00Z"}
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environ |= {f"GIT_{part}_{key}": value for part in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    environ |= more or {}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=GIT_S, check=False
    )
    if done.returncode:
        raise NotReady(f"git {arguments[0]} failed in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def _copy(repository: Path, folder: Path, branch: str) -> None:
    shutil.copytree(repository, folder, ignore=shutil.ignore_patterns(".git", ".beads"))
    _write_head(folder, branch)


def _write_head(folder: Path, branch: str) -> None:
    ref = folder / ".git/refs/heads" / branch
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(hashlib.sha1(folder.name.encode(), usedforsecurity=False).hexdigest() + "\n")
    (folder / ".git/HEAD").write_text(f"ref: refs/heads/{branch}\n")
