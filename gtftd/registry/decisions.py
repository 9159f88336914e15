"""Decisions: which status a model has, and whom it serves; and the way back."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gtftd.errors import Refused
from gtftd.registry import lifecycle
from gtftd.registry.reading import Reading
from gtftd.registry.rows import ACTIVE
from gtftd.schemas.event import Event, event_id
from gtftd.schemas.registry import Action, Deployment, DeploymentDecided, ModelChanged, ModelEntry, Status
from gtftd.state.outbox import Outgoing


@dataclass(frozen=True)
class Who:
    """Who decided, why, and when."""

    by: str
    why: str
    at: datetime


class Decisions:
    """Collects the facts of what it did; whoever commits the rows commits them too."""

    def __init__(self, connection: sqlite3.Connection, models_folder: Path, who: Who) -> None:
        self._connection = connection
        self._who = who
        self.reading = Reading(connection, models_folder)
        self.facts: list[Outgoing] = []

    def move(self, name: str, status: Status) -> None:
        """Give a model another status. The same again changes nothing."""
        model = self.reading.model(name)
        if model.deployment_status == status:
            return
        lifecycle.check(name, model.deployment_status, status)
        if status not in lifecycle.SERVING and (places := self.reading.serves_where(name)):
            rigs = ", ".join(f"{role} in {rig or 'the whole town'}" for role, rig in places)
            raise Refused(f"{name} serves {rigs}; roll it back first (`gtftctl model rollback`)")
        self._set_status(name, model.deployment_status, status)

    def taint(self, *names: str) -> None:
        """They were made of what must not be known: none of them serves anywhere any more, and none takes its place."""
        for name in names:
            for role, rig in self.reading.serves_where(name):
                self.rollback(role, rig, without=names)
        for name in names:
            self.move(name, "tainted")

    def taint_made_of(self, sources: Iterable[str]) -> list[str]:
        """What learned from these snapshots or models, all the way down; what is tainted already is passed over."""
        tainted: list[str] = []
        waiting = list(sources)
        while waiting:
            for name, relation in self.reading.made_from(waiting.pop()):
                is_new = name not in tainted and self.reading.model(name).deployment_status != "tainted"
                if is_new and relation in {"snapshot", "parent"}:
                    tainted.append(name)
                    waiting.append(name)
        self.taint(*tainted)
        return tainted

    def deploy(self, name: str, role: str, rig: str) -> Deployment | None:
        """It serves the role there from now on; None when it does already."""
        model = self.reading.model(name)
        self._check_deployable(model, role)
        if self.reading.serving(role, rig) == name:
            return None
        return self._decide("deploy", role, rig, name)

    def rollback(self, role: str, rig: str, to: str | None = None, *, without: Collection[str] = ()) -> Deployment:
        """Back to what served before, or to `to`. Where nothing of ours served before that may serve again, to none."""
        now = self.reading.serving(role, rig)
        if now is None:
            raise Refused(
                f"none of our models serves {role} in {rig or 'the whole town'}: there is nothing to roll back"
            )
        before = (
            [to] if to else [name for name in reversed(self.reading.served_before(role, rig)) if name not in without]
        )
        may = (name for name in before if name is None or self._may_serve_again(name, role, insist=bool(to)))
        target = next(may, None)
        return self._decide("rollback", role, rig, target)

    def withdraw(self, role: str, rig: str) -> Deployment | None:
        """None of ours serves the role there any more; None when none does."""
        if self.reading.serving(role, rig) is None:
            return None
        return self._decide("withdraw", role, rig, None)

    @property
    def _at(self) -> float:
        return self._who.at.timestamp()

    def _check_deployable(self, model: ModelEntry, role: str) -> None:
        name, status = model.name, model.deployment_status
        if model.kind != "role":
            raise Refused(f"{name} is an adapter for a task: it is stacked on a model of a role and deployed with it")
        if model.role != role:
            raise Refused(f"{name} is a model of {model.role} and cannot serve {role}")
        if status not in lifecycle.DEPLOYABLE:
            allowed = ", ".join(sorted(lifecycle.DEPLOYABLE))
            raise Refused(f"{name} is {status}; a model that is deployed must be one of: {allowed}")
        if not lifecycle.has_passed(one.status for one in self.reading.transitions(name)):
            raise Refused(f"{name} has not passed its gate: it is {status} without having been gated since")
        if model.artifact_path is None:
            raise Refused(f"{name} was pruned: its bytes are gone")

    def _may_serve_again(self, name: str, role: str, *, insist: bool) -> bool:
        try:
            self._check_deployable(self.reading.model(name), role)
        except Refused:
            if insist:
                raise
            return False
        return True

    def _decide(self, action: Action, role: str, rig: str, model: str | None) -> Deployment:
        previous = self.reading.serving(role, rig)
        decision = event_id("deployment", action, role, rig, model, previous, self._at)
        self._connection.execute(
            "INSERT INTO deployments (id, action, role, rig, model, previous, by, why, at) VALUES (?,?,?,?,?,?,?,?,?)",
            (decision, action, role, rig, model, previous, self._who.by, self._who.why, self._at),
        )
        self._point(role, rig, model)
        if model is not None:
            self._serve(model)
        if previous is not None and not self.reading.serves_where(previous):
            self._retire(previous)
        made = self.reading.deployments(role, rig)[-1]
        fields = made.model_dump(exclude={"id", "at"})
        self._tell(DeploymentDecided(deployment=made.id, **fields), event_id("deployment.decided", made.id))
        return made

    def _point(self, role: str, rig: str, model: str | None) -> None:
        """Taken away first: triggers do not see what a replacement takes away."""
        sql = "DELETE FROM model_aliases WHERE series = ? AND alias = ? AND rig = ?"
        self._connection.execute(sql, (role, ACTIVE, rig))
        if model is not None:
            sql = "INSERT INTO model_aliases (series, alias, rig, model, at) VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(sql, (role, ACTIVE, rig, model, self._at))

    def _serve(self, name: str) -> None:
        status = self.reading.model(name).deployment_status
        if status not in lifecycle.SERVING or status == "canary":
            self._set_status(name, status, "active")

    def _retire(self, name: str) -> None:
        status = self.reading.model(name).deployment_status
        if status in lifecycle.SERVING:
            self._set_status(name, status, "archived")

    def _set_status(self, name: str, previous: Status, status: Status) -> None:
        lifecycle.check(name, previous, status)
        self._connection.execute("UPDATE models SET status = ? WHERE name = ?", (status, name))
        seq = self._note_transition(name, previous, status)
        fact = ModelChanged(model=name, previous=previous, status=status, by=self._who.by, why=self._who.why)
        self._tell(fact, event_id("model.changed", name, seq, self._at))

    def _note_transition(self, name: str, previous: Status | None, status: Status) -> int:
        cursor = self._connection.execute(
            "INSERT INTO model_transitions (model, previous, status, by, why, at) VALUES (?, ?, ?, ?, ?, ?)",
            (name, previous, status, self._who.by, self._who.why, self._at),
        )
        return int(cursor.lastrowid or 0)

    def _tell(self, fact: Event, identity: str) -> None:
        self.facts.append(Outgoing(identity, fact, self._who.at))
