"""Adding a base by a child, which may load what we must not: slowly, and on one thread."""

from __future__ import annotations

from pathlib import Path

from gtftd.errors import Missing, NonRetriable, NotReady
from gtftd.training.asking import ask, threads_of
from gtftd.training.base_source import find_source
from gtftd.training.bases import BaseSource, BaseStore

PROGRAM = "gtftd.programs.base"


def ensure_base(state_dir: Path, name: str) -> None:
    """A base that comes with a package is converted at its first use; of any other `Missing` says what to do."""
    store = BaseStore(state_dir)
    if name in store.names():
        return
    try:
        source = find_source(name, None)
    except (NonRetriable, NotReady) as error:
        raise Missing(f"there is no base {name!r} here: {error}") from error
    store.add(name, source, add_in_child)


def add_in_child(name: str, source: BaseSource, cache: Path, *, any_family: bool = False) -> str:
    """The digest of the base. Raises what the child found wrong, in its words."""
    words = (name, str(cache), *(["--any-family"] if any_family else []))
    environ = {**threads_of(1), "CUDA_VISIBLE_DEVICES": ""}
    told = ask(PROGRAM, source.model_dump_json(), *words, task=f"added {source.path}", environ=environ)
    return str(told["digest"])
