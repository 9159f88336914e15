"""Programs of llama.cpp, where they are: its converter in a configured checkout, `llama-quantize` there or in PATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.schemas.training import ExportForm
from gtftd.training.export_gguf import sync

CONVERTER = "convert_hf_to_gguf.py"
QUANTISER = "llama-quantize"
_BUILDS = ("build/bin", "bin", ".")
_LOOK_S = 1.0


@dataclass(frozen=True)
class Checkout:
    """What of llama.cpp is here."""

    converter: Path | None
    quantiser: Path | None

    @classmethod
    def find(cls, folder: Path | None) -> Checkout:
        """Raises Missing when a checkout is named and is none."""
        if folder is None:
            found = shutil.which(QUANTISER)
            return cls(None, Path(found) if found else None)
        converter = folder / CONVERTER
        if not converter.is_file():
            raise Missing(f"training.llama_cpp_dir = {folder} holds no {CONVERTER}: it is no checkout of llama.cpp")
        built = next((found for one in _BUILDS if (found := shutil.which(QUANTISER, path=str(folder / one)))), None)
        found = built or shutil.which(QUANTISER)
        return cls(converter, Path(found) if found else None)

    def convert(
        self, merged: Path, form: ExportForm, path: Path, name: str, tick: Callable[[], None]
    ) -> tuple[str, ...]:
        """A directory as transformers loads it, made into a GGUF. Raises Invalid with the program's last words."""
        assert self.converter is not None
        if form == "gguf-q4_k_m":
            between = merged / "f16.gguf"
            return self.convert(merged, "gguf-f16", between, name, tick) + self.quantise(between, form, path, tick)
        kind = form.removeprefix("gguf-")
        told = ["--outfile", str(path), "--outtype", kind, "--model-name", name]
        _run([sys.executable, str(self.converter), str(merged), *told], tick)
        sync(path)
        return (f"converted by {CONVERTER} of {self.converter.parent}",)

    def quantise(self, source: Path, form: ExportForm, path: Path, tick: Callable[[], None]) -> tuple[str, ...]:
        """Raises Missing without the program, Invalid with its last words."""
        if self.quantiser is None:
            raise Missing(f"{QUANTISER} is neither in PATH nor built in training.llama_cpp_dir; choose gguf-q8_0")
        kind = form.removeprefix("gguf-").upper()
        _run([str(self.quantiser), str(source), str(path), kind], tick)
        sync(path)
        return (f"quantised by {self.quantiser}",)


def _run(command: Sequence[str], tick: Callable[[], None]) -> None:
    with tempfile.TemporaryFile("w+") as words:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words) as child:
            try:
                while child.poll() is None:
                    tick()
                    _wait(child)
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            words.seek(0)
            last = ([line for line in words.read().splitlines() if line.strip()] or ["it said nothing"])[-1][:300]
            lacks = "; install the checkout's requirements beside gtftd" if "ModuleNotFound" in last else ""
            program = next(Path(word).name for word in command if word != sys.executable)
            raise Invalid(f"{program} ended with status {child.returncode}: {last}{lacks}")


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return
