"""What the daemon must never load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "hivemind", "gguf", "chromadb", "onnxruntime", "tantivy", "tokenizers")
OF_OTHERS = ("typer", "gtftd.ctl", "gtftd.sampletown", "mysql_mimic", "detect_secrets")


@pytest.mark.parametrize("program", ["gtftd.programs.daemon", "gtftd.handlers", "gtftd.schemas.catalog", "gtftd.ctl"])
def test_a_fresh_interpreter_loads_no_model_stack(program: str) -> None:
    """Models live in children: neither the daemon nor gtftctl reaches them, however indirectly."""
    assert [] == loaded_by(program, HEAVY)


def test_the_daemon_loads_nothing_of_other_programs() -> None:
    """What a person types, the sample town and the scrubber's rules stay out of its start."""
    assert [] == loaded_by("gtftd.programs.daemon", OF_OTHERS)


def loaded_by(program: str, unwanted: tuple[str, ...]) -> list[str]:
    code = f"import sys, {program}; print(*[name for name in {unwanted!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    return told.stdout.split()
