"""Exports of an adapter: made beside their place, compared with their source, and only then there.

`<folder>/<form>/` holds an export and `export.json`, which tells what it was made of: what is there and was made of the
same is not made again. A kill leaves a folder that begins with a dot, which the next start deletes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from gtftd.errors import Missing, NoSpace, NotReady
from gtftd.logs import get_logger
from gtftd.machine import free_memory_bytes
from gtftd.schemas.training import ExportCheck, ExportForm, ExportRecord
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, is_full, write_atomic
from gtftd.training import memory
from gtftd.training.base_source import find_packaged
from gtftd.training.bases import Base, sum_of, try_read_base
from gtftd.training.export_check import Told, ask_source, check_gguf, check_merged
from gtftd.training.export_convert import Checkout
from gtftd.training.export_gguf import write_gguf
from gtftd.training.export_lora import write_lora
from gtftd.training.export_merged import write_merged
from gtftd.training.export_metadata import Metadata
from gtftd.training.export_quants import INSTALL
from gtftd.training.export_weights import CONFIG, WEIGHTS, Weights

log = get_logger("training")
RECORD = "export.json"
FORMAT = 1
"""Raised when the same would be written otherwise."""
FILES: dict[ExportForm, str] = {
    "merged": "", "gguf-f16": "model-f16.gguf", "gguf-q8_0": "model-q8_0.gguf", "gguf-q4_k_m": "model-q4_k_m.gguf",
    "lora-gguf": "lora-f16.gguf",
}  # fmt: skip
_DTYPES = {"BF16": "bfloat16", "F16": "float16"}
_SCRATCH = "scratch"


@dataclass(frozen=True)
class Source:
    """What is exported."""

    base: Path
    adapters: tuple[Path, ...]
    """Each stacked on those before it; the last one gives the export its sense."""
    name: str
    """What a GGUF calls itself."""
    llama_cpp: Path | None = None
    """A checkout of llama.cpp, for what we don't write ourselves."""
    threads: int = 1


class Exporter:
    """Makes exports of one source, one after the other. Memory: the source once in float32, while it is compared."""

    def __init__(self, source: Source, folder: Path, tick: Callable[[], None]) -> None:
        """`tick` is called every second or so, and may raise to end it all. Deletes what a kill left."""
        self._source = source
        self._folder = folder
        self._tick = tick
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(".*.tmp"):
            shutil.rmtree(left, ignore_errors=True)

    def make(self, form: ExportForm) -> ExportRecord:
        """There and whole, when this returns. Raises a GtftdError that says what to do; then nothing of it is there."""
        there = self._made(form)
        if there is not None:
            return there
        began = time.monotonic()
        if form != "merged" and importlib.util.find_spec("gguf") is None:
            raise Missing(f"the library gguf is not installed; run {INSTALL}")
        place, aside = self._folder / form, self._folder / f".{form}.tmp"
        try:
            aside.mkdir(mode=0o700)
            check, notes = self._write(form, aside)
            shutil.rmtree(aside / _SCRATCH, ignore_errors=True)
            size_bytes = sum(path.stat().st_size for path in aside.iterdir())
            record = ExportRecord(
                form=form, key=self._key, file=FILES[form], size_bytes=size_bytes, check=check, notes=notes,
                took_s=time.monotonic() - began, made_at=datetime.now(UTC),
            )  # fmt: skip
            write_atomic(aside / RECORD, record.model_dump_json(indent=1).encode())
            crash_point("export.checked")
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)
            fsync_folder(self._folder)
        except OSError as error:
            if is_full(error):
                raise NoSpace(f"no space left for {form} in {self._folder}; free some disk") from error
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        log.info("export.made", form=form, size_bytes=size_bytes, took_s=round(record.took_s, 1),
                 divergence=record.check.divergence, engine=record.check.engine)  # fmt: skip
        return record

    def _made(self, form: ExportForm) -> ExportRecord | None:
        place = self._folder / form
        try:
            record = ExportRecord.model_validate_json((place / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None
        return record if record.key == self._key and (place / record.file).exists() else None

    def _write(self, form: ExportForm, aside: Path) -> tuple[ExportCheck, tuple[str, ...]]:
        if form == "merged":
            write_merged(self._weights, aside, self._tick)
            crash_point("export.written")
            return check_merged(aside, self._told, self._dtype), ()
        path = aside / FILES[form]
        if form == "lora-gguf":
            write_lora(self._weights, self._metadata, path, self._tick)
            crash_point("export.written")
            return self._check_lora(path, aside / _SCRATCH), ()
        notes = self._write_gguf(form, path, aside / _SCRATCH)
        crash_point("export.written")
        return check_gguf(path, None, self._told, form, self._source.threads, self._tick), notes

    def _write_gguf(self, form: ExportForm, path: Path, scratch: Path) -> tuple[str, ...]:
        """What llama.cpp's own programs made of it, is said."""
        checkout = Checkout.find(self._source.llama_cpp)
        metadata = self._metadata
        if metadata.template is None and checkout.converter is not None:
            scratch.mkdir()
            write_merged(self._weights, scratch, self._tick)
            if form != "gguf-q4_k_m" or checkout.quantiser is not None or not metadata.is_known:
                return checkout.convert(scratch, form, path, self._source.name, self._tick)
            notes = checkout.convert(scratch, "gguf-f16", scratch / "f16.gguf", self._source.name, self._tick)
            write_gguf(self._weights, replace(metadata, template=scratch / "f16.gguf"), form, path, self._tick)
            return notes
        if form == "gguf-q4_k_m" and checkout.quantiser is not None:
            scratch.mkdir()
            write_gguf(self._weights, self._metadata, "gguf-f16", scratch / "f16.gguf", self._tick)
            return checkout.quantise(scratch / "f16.gguf", form, path, self._tick)
        write_gguf(self._weights, self._metadata, form, path, self._tick)
        return ()

    def _check_lora(self, path: Path, scratch: Path) -> ExportCheck:
        """On the GGUF of the base, or one of float16 that is made for this."""
        base = self._metadata.template
        if base is None:
            scratch.mkdir()
            base = scratch / "base.gguf"
            write_gguf(Weights(self._source.base, ()), self._metadata, "gguf-f16", base, self._tick)
        return check_gguf(base, path, self._told, "lora-gguf", self._source.threads, self._tick)

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self._source.base, self._source.adapters)

    @cached_property
    def _metadata(self) -> Metadata:
        return Metadata(self._source.base, template_of(self._source.base), self._source.name)

    @cached_property
    def _told(self) -> Told:
        self._tick()
        _check_memory(self._source.base)
        return ask_source(self._source.base, self._source.adapters)

    @property
    def _dtype(self) -> str:
        """The coarsest in which the base stores a weight."""
        stored = {one.dtype for one in self._weights.stored.values()}
        return next((name for told, name in _DTYPES.items() if told in stored), "float32")

    @cached_property
    def _key(self) -> str:
        base = base_of(self._source.base)
        files = [] if base else sorted(self._source.base.glob("*.safetensors"))
        files += [folder / name for folder in self._source.adapters for name in (CONFIG, WEIGHTS)]
        told = [str(FORMAT), self._source.name, base.digest if base else "", *map(sum_of, files)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _check_memory(base: Path) -> None:
    """Of the processor; a GPU's driver says what does not fit. Raises NotReady before the machine has to."""
    import torch

    needed = memory.estimate_export(memory.read_shape(base))
    free = free_memory_bytes()
    if not torch.cuda.is_available() and needed > free:
        raise NotReady(
            f"comparing an export with its source takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free; make it later with `gtftctl model export`"
        )


def base_of(folder: Path) -> Base | None:
    """What the cache of bases says of it; None for a folder that lies elsewhere."""
    return try_read_base(folder.parent, folder.name)


def template_of(folder: Path) -> Path | None:
    """The GGUF of which a base was made, when it is still the same."""
    base = base_of(folder)
    if base is None or base.source.kind != "gguf":
        return None
    for path in (Path(base.source.path), *find_packaged()):
        if path.is_file() and sum_of(path) == base.source.sha256:
            return path
    return None
