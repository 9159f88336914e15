"""Snapshots: immutable, content-addressed selections of the corpus that a training run reads."""

from gtftd.corpus.snapshot.build import build_snapshot
from gtftd.corpus.snapshot.diff import diff
from gtftd.corpus.snapshot.export import export
from gtftd.corpus.snapshot.folder import list_snapshots, read_manifest, where
from gtftd.corpus.snapshot.gather import Progress
from gtftd.corpus.snapshot.phrase import phrase_text
from gtftd.corpus.snapshot.taint import taint
from gtftd.corpus.snapshot.verify import verify
from gtftd.corpus.snapshot.windows import Window, estimate_tokens, windows

__all__ = [
    "Progress",
    "Window",
    "build_snapshot",
    "diff",
    "estimate_tokens",
    "export",
    "list_snapshots",
    "phrase_text",
    "read_manifest",
    "taint",
    "verify",
    "where",
    "windows",
]
