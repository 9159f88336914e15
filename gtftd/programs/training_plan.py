"""From an order to a run: what it is trained on, from where, and whether it may be."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.errors import Invalid, Missing, Refused
from gtftd.registry import Registry, Wanted
from gtftd.schemas.registry import ModelEntry
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunSpec
from gtftd.schemas.training_orders import TASKS, TrainOrder

if TYPE_CHECKING:
    from gtftd.corpus.snapshot.folder import Snapshot

LATEST = "latest"
_MAY_NOT_BEGIN = frozenset({"tainted", "flagged"})


class Planner:
    """Everything is looked at before anything is started; what was decided stands in the run's spec."""

    def __init__(
        self,
        state_dir: Path,
        settings: TrainingSettings,
        registry: Callable[[], Registry],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._state_dir = state_dir
        self._settings = settings
        self._registry = registry
        self._clock = clock

    def plan(self, order: TrainOrder) -> RunSpec:
        """Raises Missing, Invalid and Refused, each with what to do."""
        from gtftd.training.bases import BaseStore

        _check_task(order)
        base = BaseStore(self._state_dir).get(order.base or self._settings.base)
        parent = self._parent(order, base.digest)
        stacked_on = order.stacked_on or (parent.role if parent and order.kind == "task" else None)
        snapshot = self._snapshot(order, stacked_on if order.kind == "task" else order.role)
        at = self._clock()
        run = order.run or f"{order.role[:36]}-{at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return RunSpec(
            run=run,
            job=run,
            kind=order.kind,
            role=order.role,
            base=str(base.folder),
            base_name=base.name,
            base_digest=base.digest,
            tokenizer_sha256=base.tokenizer_sha256,
            state_dir=str(self._state_dir),
            snapshot=snapshot.manifest.id,
            adapter=parent.artifact_path if parent else None,
            parent=parent.name if parent else None,
            stacked_on=stacked_on,
            llama_cpp_dir=str(self._settings.llama_cpp_dir) if self._settings.llama_cpp_dir else None,
            settings=order.settings,
            origins=order.origins,
            by=order.by,
            request=order.request,
            created_at=at,
        )

    def _snapshot(self, order: TrainOrder, role: str | None) -> Snapshot:
        from gtftd.corpus.snapshot.folder import open_snapshot

        chosen = self._latest(role, insist=order.insist) if order.snapshot == LATEST else order.snapshot
        snapshot = open_snapshot(self._state_dir, chosen, for_training=True)
        manifest = snapshot.manifest
        if role is not None and manifest.selection.role not in (None, role):
            raise Invalid(
                f"snapshot {manifest.id[:12]} is of {manifest.selection.role}, not of {role}; "
                f"`gtftctl corpus snapshot --role {role}` builds one"
            )
        if not manifest.ready and not order.insist:
            why = "; ".join(gate.why for gate in manifest.reasons)
            raise Refused(f"snapshot {manifest.id[:12]} is not ready: {why}; --even-if-not-ready insists")
        _check_objective(order, snapshot)
        return snapshot

    def _latest(self, role: str | None, *, insist: bool) -> str:
        """The newest that is of this role, else of all of them, and is ready or may be unready."""
        from gtftd.corpus.snapshot.folder import list_snapshots

        rows = [row for row in list_snapshots(self._state_dir) if not row.tainted and row.role in (None, role)]
        own = [row for row in rows if row.role == role] + [row for row in rows if row.role != role]
        found = next((row for row in own if row.ready or insist), None)
        if found is not None:
            return found.id
        if own:
            why = "; ".join(own[0].reasons)
            raise Refused(
                f"no snapshot for {role or 'all roles'} is ready; the newest, {own[0].id[:12]}: {why}; "
                "--even-if-not-ready insists"
            )
        build = f"gtftctl corpus snapshot{f' --role {role}' if role else ''}"
        raise Missing(f"there is no snapshot for {role or 'all roles'}; `{build}` builds one")

    def _parent(self, order: TrainOrder, base_digest: str) -> ModelEntry | None:
        if order.parent is None:
            return self._newest(order.stacked_on, base_digest) if order.kind == "task" and order.stacked_on else None
        parent = self._registry().model(order.parent)
        if order.kind == "task" and (parent.kind, parent.role) != ("role", order.stacked_on or parent.role):
            whose = f"a model of {order.stacked_on}" if order.stacked_on else "the model of a role"
            raise Invalid(f"an adapter for a task is stacked on {whose}, and {parent.name} is none")
        if order.kind == "role" and parent.kind == "task":
            raise Invalid(f"{parent.name} is an adapter for a task: a role does not go on from one")
        if parent.deployment_status in _MAY_NOT_BEGIN:
            raise Refused(f"{parent.name} is {parent.deployment_status}: nothing is trained on from it")
        if parent.artifact_path is None:
            raise Missing(f"the bytes of {parent.name} were pruned; begin from another model")
        if parent.base_digest != base_digest:
            raise Invalid(f"{parent.name} has another base, {parent.base_model}; give it with --base")
        if not (Path(parent.artifact_path) / "adapter_config.json").is_file():
            raise Invalid(f"{parent.name} is no PEFT adapter: only such a one can be trained on from")
        return parent

    def _newest(self, role: str, base_digest: str) -> ModelEntry:
        """The role's model on which a task's adapter is stacked: what serves, else the newest that may."""
        with self._registry().reading() as reading:
            known = reading.models(Wanted(kind="role", series=role))
        usable = [
            model
            for model in known
            if model.base_digest == base_digest
            and model.deployment_status not in (*_MAY_NOT_BEGIN, "archived")
            and model.artifact_path is not None
            and (Path(model.artifact_path) / "adapter_config.json").is_file()
        ]
        if not usable:
            raise Missing(
                f"{role} has no model on this base to stack the task's adapter on; `gtftctl train --role {role}` "
                "trains one, or leave --role away for an adapter on the base itself"
            )
        return next((model for model in usable if model.deployment_status == "active"), usable[0])


def _check_task(order: TrainOrder) -> None:
    if order.kind == "task" and order.role not in TASKS:
        raise Invalid(f"there is no task {order.role!r}; there are {', '.join(TASKS)}")


def _check_objective(order: TrainOrder, snapshot: Snapshot) -> None:
    """Nothing to learn from is an error before the training, not in it."""
    manifest, objective = snapshot.manifest, order.settings.objective
    found = {"sft": manifest.by_use.get("sft", 0), "dpo": manifest.pairs, "kto": manifest.unpaired}[objective]
    if not found:
        what = {"sft": "entries to follow", "dpo": "pairs", "kto": "good or bad completions"}[objective]
        raise Invalid(f"snapshot {manifest.id[:12]} has no {what}, which {objective} learns from; choose another")
