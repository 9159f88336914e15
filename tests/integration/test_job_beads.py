"""Training jobs seen from the beads' side: a `bd` that runs, is away, refuses, hangs or dies; and we are killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.health import Condition, Health
from gtftd.registry import jobs
from gtftd.registry.bead_face import TRIES, BeadFace
from gtftd.registry.bead_intents import given_up, open_intents, reopen
from gtftd.registry.jobs import JobChanges, JobRequest
from gtftd.schemas.registry import JobState, TrainingJob
from gtftd.state import Database
from gtftd.town.bd import Bd, BdFailed, NewBead
from gtftd.town.layout import Town
from tests.support.fake_bd import FakeBd, install
from tests.support.state import opened

REPOSITORY = Path(__file__).parents[2]
AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self) -> None:
        self.now = AT.timestamp()

    def __call__(self) -> float:
        return self.now


class Scene:
    """A town whose beads a fake `bd` keeps, a state file, and the face between them."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.fake: FakeBd = install(folder / "bin", folder / "town" / ".beads")
        self.clock, self.health = Clock(), Health()
        self.estop = False
        self.face = self.new_face()

    def new_face(self, timeout_s: float = 20.0) -> BeadFace:
        bd = Bd(Town(self.folder / "town"), self.fake.environ(), timeout_s=timeout_s)
        return BeadFace(self.database, bd, self.health, lambda: self.estop, clock=self.clock)

    async def create(self, id: str = "j", objective: str = "Fewer words") -> TrainingJob:
        request = JobRequest("role", "mayor", objective, "snap-1")
        return await self.database.write(lambda connection: JobChanges(connection, str).create(request, self.at, id))

    async def advance(self, state: JobState, note: str = "", id: str = "j", model: str | None = None) -> None:
        """A quarter of an hour later."""
        self.clock.now += 900
        await self.database.write(
            lambda connection: JobChanges(connection, str).advance(id, state, self.at, note, model)
        )

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, UTC)

    def bead(self, label: str = "gtftd-job:j") -> dict[str, object]:
        found = [bead for bead in self.fake.beads().values() if label in bead["labels"]]
        assert 1 == len(found)
        return dict(found[0])

    async def open(self) -> list[str]:
        return [intent.action for intent in await self.database.read(open_intents)]

    @property
    def condition(self) -> Condition:
        return next(one for one in self.health.board() if one.component == "job-beads")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with opened(tmp_path / "state.db") as database:
        yield Scene(tmp_path, database)


def insert_model(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO artifacts VALUES ('d', 'gguf', 1, 's', 0, NULL)")
    connection.execute(
        """INSERT INTO models (name, kind, series, version, status, base_model, base_digest, tokenizer_sha256,
             corpus_hash, artifact, gtftd_version, eval_score, trained_at, created_at)
           VALUES ('mayor-v3', 'role', 'mayor', 3, 'registered', 'b', 'd', 't', 'c', 'd', '1', 0.875, 0, 0)"""
    )


async def test_a_whole_life_in_beads(scene: Scene) -> None:
    """Two beads, one needing the other; begun, labelled, noted, and closed with the model and its score."""
    await scene.database.write(insert_model)
    await scene.create()
    await scene.face.apply()
    corpus, training = scene.bead("gtftd-corpus:j"), scene.bead()
    assert ("in_progress", "gtftd") == (corpus["status"], corpus["assignee"])
    assert ("open", [corpus["id"]]) == (training["status"], training["needs"])
    job = await scene.database.read(lambda connection: jobs.read(connection, "j"))
    assert (corpus["id"], training["id"]) == (job.corpus_bead, job.bead)

    await scene.advance("ready")
    await scene.face.apply()
    assert ("closed", "done: snap-1 can be trained on") == tuple(
        scene.bead("gtftd-corpus:j")[name] for name in ("status", "close_reason")
    )
    await scene.advance("training")
    await scene.advance("checkpointing", "step 400, loss 1.25")
    await scene.face.apply()
    training = scene.bead()
    assert "in_progress" == training["status"]
    assert ["gtftd", "gtftd-job:j", "training:checkpointing"] == training["labels"]
    assert "checkpointing: step 400, loss 1.25 (gtftd note" in str(training["notes"])

    await scene.advance("evaluating")
    await scene.advance("done", model="mayor-v3")
    await scene.face.apply()
    training = scene.bead()
    assert ("closed", "done: mayor-v3, score 0.875") == (training["status"], training["close_reason"])
    assert "training:done" in training["labels"]
    assert ([], "ok") == (await scene.open(), scene.condition.state)


async def test_a_job_that_fails_says_why(scene: Scene) -> None:
    """Its corpus is closed first, so that nothing blocks it."""
    await scene.create()
    await scene.advance("failed", "17 entries are tainted")
    await scene.face.apply()
    for label in ("gtftd-corpus:j", "gtftd-job:j"):
        assert "failed: 17 entries are tainted" == scene.bead(label)["close_reason"]


async def test_bd_that_is_away_is_caught_up_with_in_order(scene: Scene) -> None:
    """Nothing fails and nothing waits; later it hears all that still matters."""
    program = (scene.fake.bin_folder / "bd").read_bytes()
    scene.fake.remove()
    await scene.create()
    await scene.advance("ready")
    await scene.advance("training")
    assert 0 == await scene.face.apply()
    assert ("off", "bd is not on the PATH") == (scene.condition.state, scene.condition.detail)
    await scene.advance("checkpointing", "step 1")
    await scene.advance("failed", "no memory")
    (scene.fake.bin_folder / "bd").write_bytes(program)
    (scene.fake.bin_folder / "bd").chmod(0o755)
    await scene.face.apply()
    writes = [call[0] for call in scene.fake.calls() if call[0] in {"create", "update", "close"} or "add" in call]
    assert ["create", "update", "create", "dep", "close", "update", "update", "update", "close"] == writes
    assert "step 1" in str(scene.bead()["notes"])
    assert ("closed", "failed: no memory") == (scene.bead()["status"], scene.bead()["close_reason"])
    assert [] == await scene.open()


async def test_a_database_that_is_away_costs_no_try(scene: Scene) -> None:
    """`bd` that cannot read either is an outage, however long, and no refusal."""
    await scene.create()
    scene.fake.fail(down="dial tcp 127.0.0.1:3307: connection refused")
    for _ in range(TRIES + 2):
        scene.clock.now += 3600
        assert 0 == await scene.face.apply()
    assert ("degraded", "bd.unreachable") == (scene.condition.state, scene.condition.name)
    scene.fake.fail()
    await scene.face.apply()
    assert [] == await scene.open()
    assert 0 == await scene.database.read(given_up)
    assert "open" == scene.bead()["status"]


@pytest.mark.parametrize("how", ["refuse", "silent"])
async def test_a_refusal_holds_up_no_other_job(scene: Scene, how: str) -> None:
    """It is tried five times, then marked with its error; `silent` ends well without doing anything, as bd may."""
    await scene.create("j")
    await scene.face.apply()
    await scene.advance("failed", "no memory", "j")
    await scene.create("k")
    scene.fake.fail(**{how: ["close"]})
    await scene.face.apply()
    assert "open" == scene.bead("gtftd-job:k")["status"]
    assert ("degraded", "bd.refuses") == (scene.condition.state, scene.condition.name)
    before = len(scene.fake.calls())
    await scene.face.apply()
    assert before == len(scene.fake.calls())  # not yet
    for _ in range(2 * TRIES):
        scene.clock.now += 5400
        await scene.face.apply()
    assert [] == await scene.open()
    assert 2 == await scene.database.read(given_up)
    assert ("ok", "bd refused 2 changes for good") == (scene.condition.state, scene.condition.detail)
    assert 2 * TRIES == sum(call[0] == "close" for call in scene.fake.calls())

    scene.fake.fail()
    await scene.database.write(lambda connection: reopen(connection, "j"))
    await scene.face.apply()
    assert "closed" == scene.bead()["status"]


async def test_without_a_bead_the_rest_is_not_tried(scene: Scene) -> None:
    """A job whose beads were refused goes its way; each intent says why nothing came of it."""
    await scene.create()
    await scene.advance("ready")
    scene.fake.fail(refuse=["create"])
    for _ in range(3 * TRIES):
        scene.clock.now += 5400
        await scene.face.apply()
    assert ([], {}) == (await scene.open(), scene.fake.beads())
    errors = await scene.database.read(lambda c: c.execute("SELECT DISTINCT error FROM bead_intents").fetchall())
    assert {"bd create ended with 1", "there is no bead"} == {error.split(":")[0] for (error,) in errors}


@pytest.mark.parametrize("how", ["hang", "hang_after"])
async def test_bd_that_hangs_does_not_hang_us(scene: Scene, how: str) -> None:
    """It is killed and tried again; one that hung after its work is not asked for a second bead."""
    await scene.create()
    scene.fake.fail(**{how: ["create"]})
    face = scene.new_face(timeout_s=1.0)
    assert 0 == await face.apply()
    assert ("degraded", "bd.refuses") == (scene.condition.state, scene.condition.name)
    scene.fake.fail()
    scene.clock.now += 120
    await face.apply()
    assert [] == await scene.open()
    assert 2 == len(scene.fake.beads())


async def test_bd_that_dies_after_its_work_makes_no_second_bead(scene: Scene) -> None:
    await scene.create()
    scene.fake.fail(die_after=["create", "dep add", "update"])
    for _ in range(4):
        scene.clock.now += 300
        await scene.face.apply()
    scene.fake.fail()
    scene.clock.now += 5400
    await scene.face.apply()
    assert [] == await scene.open()
    assert 2 == len(scene.fake.beads())


@pytest.mark.parametrize(
    "point", ["created:2", "depend", "start", "label", "note", "close:2"]
)  # fmt: skip
async def test_killed_before_the_mark_nothing_happens_twice(scene: Scene, point: str) -> None:
    """SIGKILL between the success of `bd` and our mark: two beads, one need, one note, whatever the point."""
    await scene.create()
    await scene.advance("ready")
    await scene.advance("training", "begun")
    await scene.advance("failed", "no memory")
    arguments = [sys.executable, "-m", "tests.support.bead_face_child"]
    arguments += [str(scene.database.path), str(scene.folder / "town")]
    environ = scene.fake.environ()
    ended = subprocess.run(
        arguments, cwd=REPOSITORY, env=environ | {"GTFTD_CRASH_AT": f"job_beads.{point}"}, check=False
    )
    assert -signal.SIGKILL == ended.returncode
    assert [] != await scene.open()
    await scene.face.apply()
    assert [] == await scene.open()
    assert 2 == len(scene.fake.beads())
    training = scene.bead()
    assert 1 == len(training["needs"])  # type: ignore[arg-type]
    assert 1 == str(training["notes"]).count("begun")
    assert "closed" == training["status"]
    assert 0 == await scene.database.read(given_up)


async def test_a_second_bead_that_came_about_is_closed(scene: Scene) -> None:
    """A `bd` that outlived a killed daemon may have made one more: the oldest stays, the other is its duplicate."""
    await scene.create()
    await scene.face.apply()
    bd = Bd(Town(scene.folder / "town"), scene.fake.environ())
    other = await bd.create(NewBead("Train mayor (role)", "", ["gtftd", "gtftd-job:j"]))
    await scene.advance("failed", "no memory")
    await scene.face.apply()
    first = await scene.database.read(lambda connection: jobs.read(connection, "j"))
    assert f"duplicate of {first.bead}" == scene.fake.beads()[other]["close_reason"]
    assert "failed: no memory" == scene.fake.beads()[first.bead]["close_reason"]


HOSTILE = {
    "mixed": "a\0b\none\n--force\ntwo\x1b[2J\x1b]0;title\x07\x9b31m\u202edone\ud800\"; drop table x; -- ' , $(reboot)",
    "flag": "--status=closed",
    "dash": "-",
    "file": "@/etc/passwd",
    "megabyte": "x" * 1_000_000 + " the end",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_texts_are_only_texts(scene: Scene, text: str) -> None:
    """As an objective, a note and a diagnosis: no flag, no command, nothing that steers a terminal."""
    await scene.create(objective=text)
    await scene.advance("ready")
    await scene.advance("training", text)
    await scene.face.apply()
    assert "in_progress" == scene.bead()["status"]
    await scene.advance("failed", text)
    await scene.face.apply()
    bead = scene.bead()
    told = "".join(str(bead[name]) for name in ("description", "notes", "close_reason"))
    assert str(bead["close_reason"]).startswith("failed: ")
    assert not any(char in told for char in "\0\x1b\x07\x9b\u202e")
    assert len(told) < 15_000
    assert [] == await scene.open()
    assert 0 == await scene.database.read(given_up)


async def test_while_an_estop_stands_nothing_is_told(scene: Scene) -> None:
    await scene.create()
    scene.estop = True
    assert 0 == await scene.face.apply()
    assert (("off", "an e-stop stands"), []) == ((scene.condition.state, scene.condition.detail), scene.fake.calls())
    scene.estop = False
    assert 4 == await scene.face.apply()


async def test_a_town_without_beads_is_none_of_bds_business(scene: Scene) -> None:
    """`bd` would look for some above it."""
    shutil.rmtree(scene.folder / "town" / ".beads")
    await scene.create()
    assert 0 == await scene.face.apply()
    assert "off" == scene.condition.state


async def test_the_hooks_of_beads_run_and_lead_to_nothing_more(scene: Scene) -> None:
    """What others hang on beads hears of ours too; no job and no intent comes of it."""
    hook = scene.folder / "town" / ".beads" / "hooks" / "on_create"
    hook.parent.mkdir()
    hook.write_text(f'#!/bin/sh\necho "$1 $2 $BD_ACTOR" >>{scene.folder}/heard\n')
    hook.chmod(0o755)
    await scene.create()
    await scene.face.apply()
    assert 0 == await scene.face.apply()
    assert "hq-001 create gtftd\nhq-002 create gtftd\n" == (scene.folder / "heard").read_text()
    assert ["j"] == [job.id for job in await scene.database.read(jobs.listed)]


async def test_the_service_is_woken(scene: Scene) -> None:
    """It tells at its start, and whenever it is woken, until it is cancelled."""
    await scene.create("j")
    running = asyncio.create_task(scene.face.run())
    try:
        async with asyncio.timeout(20):
            while await scene.open():
                await asyncio.sleep(0.02)
            await scene.create("k")
            scene.face.wake()
            while await scene.open():
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert 4 == len(scene.fake.beads())


async def test_nobodys_session_is_in_its_environment(tmp_path: Path) -> None:
    """Another actor, rig or database in ours is not passed on; how to reach the server is."""
    (tmp_path / "town" / ".beads").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "bd"
    program.write_text(f"#!/bin/sh\nenv >{tmp_path}/env\npwd >>{tmp_path}/env\necho '[]'\n")
    program.chmod(0o755)
    ours = {"GT_ROLE": "mayor", "BD_ACTOR": "mayor", "BEADS_DIR": "/elsewhere", "BEADS_DB": "x", "BD_NO_HOOKS": "1"}
    kept = {"BEADS_DOLT_PORT": "3399", "GT_DOLT_PORT": "3399"}
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": os.environ["HOME"]} | ours | kept
    assert [] == await Bd(Town(tmp_path / "town"), environ).find("x")
    said = (tmp_path / "env").read_text().splitlines()
    wanted = {"BD_ACTOR=gtftd", "BEADS_ACTOR=gtftd", f"BEADS_DIR={tmp_path}/town/.beads", "BEADS_DOLT_PORT=3399"}
    wanted |= {"BEADS_DOLT_AUTO_START=0", "GT_DOLT_PORT=3399", f"{tmp_path}/town"}
    assert wanted <= set(said)
    assert not [line for line in said if line.startswith(("GT_ROLE", "BEADS_DB=", "BD_NO_HOOKS"))]


@pytest.fixture(params=["fake", "real"])
async def bd(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bd]:
    """The same contract for both."""
    town = tmp_path / "town"
    if request.param == "fake":
        yield Bd(Town(town), install(tmp_path / "bin", town / ".beads").environ())
        return
    if shutil.which("bd") is None:
        pytest.skip("no bd on the PATH")
    town.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=town, check=True)
    subprocess.run(["bd", "init", "--prefix=hq", "--quiet"], cwd=town, check=True, stdin=subprocess.DEVNULL)
    yield Bd(Town(town), os.environ)


async def test_bd_keeps_its_contract(bd: Bd) -> None:
    """Make, find, need, begin, label, note, close; and a bead that is not there is a failure."""
    assert (None, True, []) == (bd.problem(), await bd.answers(), await bd.find("gtftd-job:x"))
    text = '--force\n-x, "quoted" and ünïcode'
    corpus = await bd.create(NewBead("Corpus", text, ["gtftd", "gtftd-corpus:x"]))
    training = await bd.create(NewBead("-Training", text, ["gtftd", "gtftd-job:x", "training:ready"]))
    await bd.add_need(training, corpus)
    assert frozenset({corpus}) == await bd.needs(training)
    await bd.start(training)
    await bd.relabel(training, ["training:training"], ["training:ready"])
    await bd.append_notes(training, text)
    await bd.append_notes(training, "second")
    bead = await bd.show(training)
    assert ("in_progress", f"{text}\nsecond") == (bead.status, bead.notes)
    assert {"gtftd", "gtftd-job:x", "training:training"} == bead.labels
    for _ in range(2):
        await bd.close(training, f"done: {text}")
    assert [(training, "closed")] == [(one.id, one.status) for one in await bd.find("gtftd-job:x")]
    for act in (bd.show("hq-nothing"), bd.start("hq-nothing"), bd.close("hq-nothing", "x")):
        with pytest.raises(BdFailed):
            await act


@pytest.mark.parametrize(
    "printed",
    ['{"id":"hq-1"}', '[{"id":"hq-1"}]', '{"schema_version":1,"data":[{"id":"hq-1"}]}',
     '{"schema_version":1,"data":{"id":"hq-1"}}', '{"schema_version":1,"id":"hq-1"}'],
)  # fmt: skip
async def test_every_shape_of_an_answer_is_read(tmp_path: Path, printed: str) -> None:
    """An array, an object, and either in an envelope."""
    assert "hq-1" == (await _saying(tmp_path, printed).show("hq-1")).id


@pytest.mark.parametrize(
    "printed", ["", "no json", "[" * 100_000, '[{"id":"--force"}]', "[null, 3]", '[{"id":"hq-2"}]']
)
async def test_any_other_answer_is_a_failure(tmp_path: Path, printed: str) -> None:
    with pytest.raises(BdFailed):
        await _saying(tmp_path, printed).show("hq-1")


def _saying(folder: Path, printed: str) -> Bd:
    (folder / "bin").mkdir()
    (folder / ".beads").mkdir()
    (folder / "printed").write_text(printed)
    (folder / "bin" / "bd").write_text(f"#!/bin/sh\ncat {folder}/printed\n")
    (folder / "bin" / "bd").chmod(0o755)
    return Bd(Town(folder), {"PATH": f"{folder}/bin:/usr/bin:/bin"})
