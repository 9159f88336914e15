"""No pickle anywhere: nothing of ours reads one, and what looks like one is refused unread."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.artifacts import REPOSITORY, make_source, store_in

SOURCES = sorted(
    {path.resolve() for room in ("gtftd", "handlers", "schemas") for path in (REPOSITORY / room).rglob("*.py")}
)
UNPICKLERS = {
    "pickle",
    "_pickle",
    "cPickle",
    "pickle5",
    "joblib",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "_marshal",
}
HEAVY = ("torch", "safetensors", "gguf", "numpy", "joblib", "dill", "cloudpickle", "shelve")


def found_in(source: str) -> Iterator[str]:
    """Every way to a pickle that the source shows: imports, also by name, and loaders of others that unpickle."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.split(".")[0] in UNPICKLERS)
            case ast.ImportFrom(module=str(module)):
                if module.split(".")[0] in UNPICKLERS:
                    yield module
            case ast.Call(func=function, args=args, keywords=keywords):
                yield from _calls(ast.unparse(function), args, keywords)


def _calls(function: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[str]:
    words = {one.value for one in args if isinstance(one, ast.Constant)}
    if function in ("__import__", "import_module", "importlib.import_module") and words & UNPICKLERS:
        yield function
    if function in ("torch.load", "pandas.read_pickle", "pd.read_pickle"):
        yield function
    for keyword in keywords:
        is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg == "allow_pickle" and not is_false:
            yield f"{function}(allow_pickle=...)"


@pytest.mark.parametrize(
    "source",
    ["import pickle", "import os, dill.source", "from marshal import loads", "def f():\n    import joblib",
     "torch.load(x)", "np.load(x, allow_pickle=True)", "np.load(x, allow_pickle=maybe)", "__import__('pickle')",
     "importlib.import_module('shelve')", "from pickle import *"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    """Each way in turn."""
    assert 1 == len(list(found_in(source)))


def test_no_source_of_ours_reads_a_pickle() -> None:
    """Not one import, not one loader that would unpickle."""
    assert len(SOURCES) > 100
    found = [f"{path.name}: {way}" for path in SOURCES for way in found_in(path.read_text())]
    assert [] == found


OPEN = """
import sys
from pathlib import Path

reached = []
WATCHED = ("pickle.find_class", "marshal.loads", "marshal.load")
is_watching = False
def watch(event, args):
    if is_watching and event in WATCHED:
        reached.append(event)
sys.addaudithook(watch)

from gtftd.registry.artifacts import ArtifactStore
from gtftd.registry.signing import Keys

folder = Path(sys.argv[1])
store = ArtifactStore(folder / "models", Keys.open(folder / "keys", []))
digest = store.digests()[0]
store.open(digest)  # what is imported late is imported now: the import of .pyc files is marshal's only use

import pickle
import _pickle
def refuse(*args, **kwargs):
    reached.append("unpickled")
    raise AssertionError
for module in (pickle, _pickle):
    module.load = module.loads = module.Unpickler = refuse
pickle._load = pickle._loads = pickle._Unpickler = refuse
is_watching = True
store.open(digest)
assert store.verify(digest) == ()
is_watching = False
print(reached, [name for name in %r if name in sys.modules])
"""


def test_opening_an_artifact_reaches_no_unpickler(tmp_path: Path) -> None:
    """In a fresh interpreter. The standard library may have imported pickle for its own use; nobody calls it, and
    no library that would is loaded.
    """
    store_in(tmp_path).add(make_source(tmp_path / "source"))
    told = subprocess.run(
        [sys.executable, "-P", "-c", OPEN % (HEAVY,), str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert "[] []" == told.stdout.strip()
