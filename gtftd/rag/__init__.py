"""Retrieval: the daemon's side feeds the index; the index itself lives in `gtftd.programs.index`."""

from gtftd.rag.feed import Feed, Index, IndexGone

__all__ = ["Feed", "Index", "IndexGone"]
