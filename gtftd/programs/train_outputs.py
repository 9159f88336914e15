"""What is made of a run's adapter before the run is done: the exports that its settings name. None can fail the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd import logs
from gtftd.errors import GtftdError
from gtftd.schemas.training import ExportForm, RunSpec
from gtftd.training import memory

if TYPE_CHECKING:
    from gtftd.training.export import Exporter
    from gtftd.training.model import Learner

log = logs.get_logger("training")
EXPORTS = "export"


@dataclass
class Made:
    """What came of it."""

    outputs: dict[str, str] = field(default_factory=dict)
    """Form -> its folder or file, below the run's folder."""
    problems: list[str] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)
    """What each says against its source, and how large it is."""
    stopped: bool = False
    """Before all were made; started again, the others are."""


class Stopped(Exception):
    """Somebody asked us to stop."""


def make_outputs(
    folder: Path, spec: RunSpec, adapter: Path, *, beat: Callable[[], None], stop: Callable[[], bool]
) -> Made:
    """Exports that are there already stay. What went wrong with one is told, and the adapter stands."""
    made = Made()
    if not spec.settings.exports:
        return made
    try:
        exporter = _open(folder, spec, adapter, _ticker(beat, stop))
        for form in dict.fromkeys(spec.settings.exports):
            made.problems += _make(exporter, form, made)
    except Stopped:
        made.stopped = True
    except ImportError as error:
        made.problems.append(f"no exports: {error}; run `pip install 'gtftd[train]'`")
    return made


def release(learner: Learner) -> None:
    """Give back the memory of a model that has learned, so that an export does not come on top of it."""
    learner.causal.to("meta")  # type: ignore[arg-type]  # the decorator of transformers hides the signature
    learner.head = learner.head.to("meta")
    learner.adapter.clear()
    learner.begun = None
    memory.give_back()


def _ticker(beat: Callable[[], None], stop: Callable[[], bool]) -> Callable[[], None]:
    def tick() -> None:
        beat()
        if stop():
            raise Stopped

    return tick


def _open(folder: Path, spec: RunSpec, adapter: Path, tick: Callable[[], None]) -> Exporter:
    from gtftd.training.export import Exporter, Source

    below = (Path(spec.adapter),) if spec.adapter and spec.kind == "task" else ()
    checkout = Path(spec.llama_cpp_dir) if spec.llama_cpp_dir else None
    threads = spec.settings.threads or 1
    return Exporter(Source(Path(spec.base), (*below, adapter), spec.run, checkout, threads), folder / EXPORTS, tick)


def _make(exporter: Exporter, form: ExportForm, made: Made) -> Iterator[str]:
    """Problems. Whatever a library says of our tensors, the run has its adapter."""
    try:
        record = exporter.make(form)
    except GtftdError as error:
        log.warning("export.failed", form=form, reason=str(error))
        yield f"no {form}: {error}"
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001, RUF100
        log.exception("export.failed", form=form)
        yield f"no {form}: {type(error).__name__}: {str(error)[:300]}"
    else:
        made.outputs[form] = str(Path(EXPORTS, form, record.file))
        made.details[f"export {form}"] = record.model_dump(mode="json", include={"size_bytes", "took_s", "check"})
