"""What close reasons say: those that gt writes, and those that people and agents write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.corpus.reasons import CLASSES, classify

TABLE: dict[str, tuple[str, ...]] = {
    "bare": ("", "  ", "Closed", "closed.", "Completed", "done", "Done!"),
    "merged_request": ("Merged in gt-wisp-abc", "merged in hb-wisp-1x2"),
    "merged": ("merged", "Merged to main", "Direct merge to main (convoy strategy)", "Merged to main by refinery"),
    "merged_commit": (
        "Merged to main at 341fa43a",
        "Merged 0a845a8d: fix tests",
        "Merged 91249671: removed --root-only",
        "Merged to main (36540017). Tests pass.",
    ),
    "work_commit": (
        "Fixed: the lock is released 0123abcd",
        "Shipped c39372f4: gt mq post-merge command",
        "Template updated. Commit 3accc203 pushed to main.",
        "Shipped 37521081: formula v6",
        "Stale locks are removed at start (0123abc)",
    ),
    "landed": ("Fix pushed to main: the port is set",),
    "work": (
        "Fixed: root cause was a missing id",
        "Implemented gt remember",
        "Added 4 new pollution patterns (--help)",
        "New health.go: gt health shows pollution and orphans",
        "Removed auto-close of permanent issues",
        "Fixed: stale entries are skipped, duplicates too",
    ),
    "no_changes": (
        "Completed with no code changes (already fixed or pushed directly to main)",
        "no-changes: make test passes",
        "No code changes - closed as blocked",
    ),
    "already_done": (
        "Already merged to main (e7251cc3)",
        "Fixed in earlier commit: tests use the right socket",
        "Fixed by gt-9nf: fresh polecats use a redirect",
        "Implemented as part of gt-kali",
    ),
    "stale": (
        "Stale backlog — shipped, superseded, or no longer relevant",
        "stale:auto-closed by reaper",
        "ORPHANED: Branch never pushed, worktree deleted",
        "rejected: Source issue gt-rcrt already closed - stale MR from recycled polecat",
        "Closed as stale",
        "Branch polecat/nux/gt-w0br@mm5n4urn no longer exists",
    ),
    "superseded": ("Superseded by gt-kk21", "Replaced by gt-1", "Branches nuked, MRs obsolete"),
    "duplicate": ("duplicate of gt-sku8", "Duplicate", "Closing: dup of gt-1", "Merged into hb-12", "same as gt-a1"),
    "artifact": (
        "help artifact pollution",
        "Pollution: --help parsed as title",
        "Test/noise pollution",
        "test cleanup",
    ),
    "declined": (
        "won't fix",
        "Wontfix: by choice",
        "Accepted limitation: small window",
        "Misfiled in gastown",
        "not a bug",
    ),
    "burned": ("burned: polecat nuked",),
    "imported": ("Historical import", "imported from another tracker"),
    "squashed": ("Squashed from 5 wisps",),
    "routine": ("patrol cycle complete: Empty queue. Idle.", "patrol complete"),
    "rejected": ("rejected: its tests fail after the rebase", "Rejected: a cap is self-destructive"),
    "reverted": ("Reverted: broke the build",),
    "failed": (
        "failed",
        "Failed: no access",
        "Timeout: no answer",
        "error: exit 1",
        "circuit-broken",
        "merge conflicts",
    ),
    "lost": ("Source branch lost, work needs to be redone",),
    "abandoned": ("abandoned", "Canceled by the overseer"),
    "deferred": ("Deferred to post-launch. It works.",),
    "blocked": ("Blocked: the flag does not exist",),
    "rollup": ("All 6 child tasks completed", "All 3 children completed: a, b, c"),
    "report": ("Verified: the reaper runs", "Code audit: all paths are right"),
    "said": ("Email sent", "Dogs have valid state files"),
}


@pytest.mark.parametrize(("name", "reason"), [(name, text) for name, texts in TABLE.items() for text in texts])
def test_each_reason_has_its_class(name: str, reason: str) -> None:
    assert name == classify(reason).name


@pytest.mark.parametrize(
    "reason",
    [
        "Timeout raised to 30 s", "Error messages name the file", "Conflicts are resolved by time",
        "Invalid input is refused at the door", "Crash in the parser is gone", "Duplicate detection by hash",
        "Broken links repaired", "Dropped the second index", "Patrol formula takes a name", "Import paths are absolute",
    ],
)  # fmt: skip
def test_a_word_that_only_opens_a_sentence_decides_nothing(reason: str) -> None:
    assert "completed" == classify(reason).label


def test_every_class_is_in_the_table() -> None:
    assert set(CLASSES) == set(TABLE)


@given(st.text(max_size=2000))
def test_any_text_has_a_class(reason: str) -> None:
    assert classify(reason) in CLASSES.values()


def test_hostile_reasons_cost_little() -> None:
    """A bounded part is read, without backtracking: the test ends."""
    for text in (
        "a-" * 500_000,
        "epic " * 200_000,
        "all " * 200_000,
        "test/-" * 200_000,
        "0" * 1_000_000,
        "\0" * 1_000_000,
    ):
        for opening in ("", "closed as ", "merged in ", "merged into ", "fixed by "):
            assert classify(opening + text) in CLASSES.values()
