"""The picture of a run's losses."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.schemas.training import CURVE, RunSpec, StepLine
from gtftd.training.curve import Curve, smoothed
from gtftd.training.progress import Journal
from tests.support.training_data import spec

STEPS = 120


def line(step: int, **changes: object) -> StepLine:
    fields: dict[str, object] = {
        "step": step, "steps": STEPS, "loss": 3.0 / step, "learning_rate": 1e-4, "gradient_norm": 1.0,
        "supervised_tokens": step, "tokens_per_s": 1.0, "eta_s": 1.0, "at": datetime.now(UTC),
    }  # fmt: skip
    return StepLine.model_validate(fields | changes)


def a_spec(folder: Path) -> RunSpec:
    return spec(folder, "none", folder).model_copy(update={"base_name": "a<b> & $c$"})


def words(folder: Path) -> str:
    """What the picture says."""
    root = ElementTree.fromstring((folder / CURVE).read_bytes())
    return " ".join("".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text"))


def test_it_is_drawn_when_the_held_out_loss_was_looked_at_or_a_checkpoint_was_written(tmp_path: Path) -> None:
    """Titled with whose run it is and how far; names of bases are text, whatever is in them."""
    journal = Journal(tmp_path, heard=Curve(tmp_path, a_spec(tmp_path)).note)
    journal.tell(line(1))
    assert not (tmp_path / CURVE).exists()
    journal.tell(line(2, held_out_loss=2.5))
    assert "polecat · SFT on a<b> & $c$" in words(tmp_path)
    assert "step 2 of 120 · loss 1.5000 · held out 2.5000" in words(tmp_path)
    journal.tell(line(3, skipped=True))
    assert "step 2 of 120" in words(tmp_path)
    journal.tell(line(4, checkpoint_s=0.1))
    assert "step 4 of 120" in words(tmp_path)
    assert "1 skipped" in words(tmp_path)


def test_a_run_that_went_on_draws_what_it_told_before(tmp_path: Path) -> None:
    """And the held-out loss before the first step, which its checkpoints know."""
    journal = Journal(tmp_path)
    for step in range(1, 100):
        journal.tell(line(step, held_out_loss=9.0 if step == 50 else None))
    state = tmp_path / "checkpoints" / "step_000050" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"held_out_before": 9.5}))
    Journal(tmp_path, heard=Curve(tmp_path, a_spec(tmp_path)).note).tell(line(60, checkpoint_s=1.0))
    assert "step 99 of 120" in words(tmp_path)
    assert "held out 9.0000, 9.5000 before" in words(tmp_path)
    Curve(tmp_path, a_spec(tmp_path)).draw()


def test_the_png_is_the_same_picture(tmp_path: Path) -> None:
    """Both are there whole; the same losses give the same bytes."""
    for _ in range(2):
        curve = Curve(tmp_path, a_spec(tmp_path))
        for step in range(1, 4):
            curve.note(line(step, loss=1.0))
        curve.draw()
    png, svg = (tmp_path / "loss.png").read_bytes(), (tmp_path / CURVE).read_bytes()
    assert b"\x89PNG\r\n" == png[:6]
    assert (1152, 662) == struct.unpack(">II", png[16:24])
    curve.draw()
    assert (png, svg) == ((tmp_path / "loss.png").read_bytes(), (tmp_path / CURVE).read_bytes())
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("told", [[line(1, loss=0.0, learning_rate=0.0)], [line(1, skipped=True)], []])
def test_a_run_of_hardly_anything_is_no_trouble(tmp_path: Path, told: list[StepLine]) -> None:
    curve = Curve(tmp_path, a_spec(tmp_path))
    for one in told:
        curve.note(one)
    curve.draw()
    assert bool(told) == (tmp_path / CURVE).exists()


def test_a_folder_that_cannot_be_written_costs_the_picture_alone(tmp_path: Path) -> None:
    curve = Curve(tmp_path, a_spec(tmp_path))
    (tmp_path / CURVE).mkdir()
    curve.note(line(1, held_out_loss=1.0))
    assert (tmp_path / CURVE).is_dir()


def test_smoothing_has_no_pull_from_its_beginning() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)
    assert 3.0 == smoothed([3.0, 0.0])[0]


def test_what_draws_is_loaded_when_something_is_drawn(tmp_path: Path) -> None:
    """The first step of a run does not wait for it; without the library a run goes on."""
    program = (
        "import sys; import gtftd.training.curve as curve; assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "from tests.unit.test_training_curve import a_spec, line; from pathlib import Path\n"
        f"folder = Path({str(tmp_path)!r}); curve.Curve(folder, a_spec(folder)).note(line(1, held_out_loss=1.0))\n"
    )
    root = Path(__file__).parents[2]
    assert 0 == subprocess.run([sys.executable, "-c", program], cwd=root, env=os.environ, check=False).returncode
    assert not (tmp_path / CURVE).exists()
