"""What becomes of a run in the records: its training job, and the model that came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gtftd.errors import Corrupt, Invalid, Missing, NonRetriable, Refused
from gtftd.logs import get_logger
from gtftd.registry import JobRequest, Registry
from gtftd.schemas.registry import Candidate, JobState, ModelEntry
from gtftd.schemas.snapshots import Manifest
from gtftd.schemas.training import RunResult, RunSpec, StepLine
from gtftd.schemas.training_orders import Settled
from gtftd.state.database import open_reader
from gtftd.state.files import write_atomic

T = TypeVar("T")
log = get_logger("training")
BY = "gtftd"
_ON_THE_WAY: dict[JobState, tuple[JobState, ...]] = {
    "corpus-validating": ("ready", "training", "evaluating"),
    "ready": ("training", "evaluating"),
    "training": ("evaluating",),
    "syncing": ("evaluating",),
    "checkpointing": ("evaluating",),
    "degraded": ("evaluating",),
}
"""To the end of a training that went well."""


class Records:
    """Hears how runs live. Whatever is told twice changes nothing the second time."""

    def __init__(self, state_dir: Path, registry: Callable[[], Registry], changed: Callable[[], None]) -> None:
        """`changed`: the records were changed, and whoever waits for them is to look."""
        self._state_dir = state_dir
        self._registry = registry
        self._changed = changed

    async def waits(self, spec: RunSpec) -> None:
        await self._in_thread(lambda: self._create(spec))

    async def began(self, spec: RunSpec) -> None:
        await self._in_thread(lambda: self._advance(spec, "training", ""))

    async def saved(self, spec: RunSpec, line: StepLine) -> None:
        held_out = f", held-out loss {line.held_out_loss:.4f}" if line.held_out_loss is not None else ""
        note = f"checkpoint at step {line.step} of {line.steps}, loss {line.loss:.4f}{held_out}"
        await self._in_thread(lambda: self._advance(spec, "training", note))

    async def halted(self, spec: RunSpec, why: str, *, died: bool) -> None:
        await self._in_thread(lambda: self._advance(spec, "degraded" if died else None, why))

    async def ended(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled:
        """Raises nothing that trying again cannot help: why there is no model stands in the answer."""
        return await self._in_thread(lambda: self._end(spec, result, folder))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        done = await asyncio.to_thread(work)
        self._changed()
        return done

    def _create(self, spec: RunSpec) -> None:
        registry = self._registry()
        settings = {"settings": spec.settings.model_dump(mode="json"), "origins": dict(spec.origins)}
        config = registry.cleaned({"base": spec.base_name, **settings})
        request = JobRequest(spec.kind, spec.role, spec.settings.objective, spec.snapshot, config)
        with registry.jobs() as jobs:
            state = jobs.create(request, registry.now(), spec.job).state
        if state == "corpus-validating":
            self._keep_pairs(registry, spec)
            with registry.jobs() as jobs:
                jobs.advance(spec.job, "ready", registry.now(), "the snapshot was checked")

    def _keep_pairs(self, registry: Registry, spec: RunSpec) -> None:
        """The pairs of a snapshot that is trained on are records; kept once, however often they are told."""
        from gtftd.corpus.snapshot.preferences import preferences

        if spec.settings.objective != "dpo":
            return
        with contextlib.suppress(Refused), registry.change(BY) as changes:  # tainted meanwhile: the run is ended for it
            changes.keep_preferences(preferences(self._state_dir, spec.snapshot))

    def _advance(self, spec: RunSpec, state: JobState | None, note: str) -> None:
        """None: with a note, in the state in which it is. What the states forbid, somebody decided by hand."""
        registry = self._registry()
        now = self._state(registry, spec)
        if now in ("done", "failed") or (state == "degraded" and now == "ready"):
            return
        with contextlib.suppress(Refused), registry.jobs() as jobs:
            jobs.advance(spec.job, state or now, registry.now(), note)

    def _end(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled:
        if result.status != "done":
            why = result.reason or f"{result.status} at step {result.steps}"
            self._fail(spec, why)
            return Settled(why=why, at=datetime.now(UTC))
        try:
            model = self._register(spec, result, folder)
        except (NonRetriable, FileNotFoundError) as error:
            why = f"trained, and not registered: {error}"
            self._fail(spec, why)
            return Settled(why=why, at=datetime.now(UTC))
        self._finish(spec, result, model)
        log.info("run.registered", run_id=spec.run, model=model.name, artifact=model.artifact)
        return Settled(model=model.name, at=datetime.now(UTC))

    def _register(self, spec: RunSpec, result: RunResult, folder: Path) -> ModelEntry:
        from gtftd.corpus.snapshot.folder import open_snapshot

        registry = self._registry()
        snapshot = open_snapshot(self._state_dir, spec.snapshot, for_training=True)
        candidate = self._candidate(spec, result, snapshot.manifest, folder)
        model = registry.register(_output(folder, result), candidate, BY, f"run {spec.run}")
        if snapshot.is_tainted:  # between the look and the registration
            with registry.change(BY, "its snapshot was tainted while it was registered") as changes:
                changes.taint(model.name)
        return registry.model(model.name)

    def _candidate(self, spec: RunSpec, result: RunResult, manifest: Manifest, folder: Path) -> Candidate:
        """As it was said first: the artifact's digest is over it, so that another one would be another model."""
        kept = folder / "candidate.json"
        if kept.exists():
            return Candidate.model_validate_json(kept.read_bytes())
        settings = spec.settings.model_dump(mode="json")
        candidate = Candidate(
            kind=spec.kind,
            role=spec.role,
            base_model=spec.base_name,
            base_digest=spec.base_digest,
            tokenizer_sha256=spec.tokenizer_sha256,
            corpus_hash=manifest.root,
            snapshot=manifest.id,
            parent=spec.parent,
            job=spec.job,
            examples=result.examples,
            dpo_pairs=result.examples if spec.settings.objective == "dpo" else 0,
            lora_rank=spec.settings.lora.rank,
            compatible_with=_fits_on(spec),
            training_config={"settings": settings, "origins": dict(spec.origins), "result": _measured(result)},
            conventions=self._conventions(spec.created_at),
            trained_at=datetime.fromtimestamp(manifest.newest_at or manifest.created_at, UTC),
        )
        write_atomic(kept, candidate.model_dump_json().encode())
        return candidate

    def _conventions(self, when: datetime) -> dict[str, str]:
        """What each instruction said then, by its sum."""
        sql = """SELECT path, sha256, max(since) FROM conventions
                 WHERE since <= ? AND kind != 'gt_version' GROUP BY path ORDER BY path"""
        with contextlib.closing(open_reader(self._state_dir / "state.db")) as connection:
            rows = connection.execute(sql, (when.timestamp(),))
            return {path: digest for path, digest, _ in rows if digest is not None}

    def _finish(self, spec: RunSpec, result: RunResult, model: ModelEntry) -> None:
        registry = self._registry()
        now = self._state(registry, spec)
        if now in ("done", "failed"):
            return
        told = f"{model.name}: {result.steps} steps, loss {_number(result.first_loss)} -> {_number(result.last_loss)}"
        if result.held_out_after is not None:
            told += f", held-out {_number(result.held_out_before)} -> {_number(result.held_out_after)}"
        with registry.jobs() as jobs:
            for state in _ON_THE_WAY.get(now, ()):
                jobs.advance(spec.job, state, registry.now())
            jobs.advance(spec.job, "done", registry.now(), "; ".join((told, *result.problems)), model=model.name)

    def _fail(self, spec: RunSpec, why: str) -> None:
        registry = self._registry()
        if self._state(registry, spec) not in ("done", "failed"):
            with registry.jobs() as jobs:
                jobs.advance(spec.job, "failed", registry.now(), why)

    def _state(self, registry: Registry, spec: RunSpec) -> JobState:
        """Raises Missing for a job that nobody made: `waits` is told first."""
        with registry.reading() as reading:
            return reading.job(spec.job).state


def _fits_on(spec: RunSpec) -> tuple[str, ...]:
    """An adapter for a task was learned over the model of a role, and is right on that one alone."""
    return (spec.parent,) if spec.kind == "task" and spec.parent else ()


def _output(folder: Path, result: RunResult) -> Path:
    """The adapter; below the run's folder, whatever the child said."""
    said = result.outputs.get("adapter")
    if said is None:
        raise Missing("the run says that it is done, and names no adapter")
    path = (folder / said).resolve()
    if not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise Invalid(f"the run names {said!r} as its adapter, which does not lie in its folder")
    if not path.is_dir():
        raise Corrupt(f"the run says that it is done, and there is no {path}")
    return path


def _measured(result: RunResult) -> dict[str, object]:
    kept = {"steps", "first_loss", "last_loss", "held_out_before", "held_out_after", "supervised_tokens"}
    audit = {"audit": result.details["audit"]} if "audit" in result.details else {}
    return result.model_dump(mode="json", include=kept) | audit


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
