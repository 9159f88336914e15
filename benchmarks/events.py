"""Events a second, validated, ledgered and double-acknowledged, beside FastStream and plain nats-py.

One nats-server that syncs every message holds the same typed events of 500 bytes. Each contestant (see
`contestants.py`) gets a process and a fresh durable of its own; the rounds run forwards and backwards in
turn. `python benchmarks/events.py --rounds 6`; run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import nats
import psutil
from contestants import CONTESTANTS, Finish, Race
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

from gtftd.bus import EmbeddedServer
from gtftd.schemas.event import Envelope
from gtftd.schemas.settings import BusSettings
from gtftd.schemas.town import BeadClosed

STREAM, SUBJECT = "GTFTD_TOWN", "gtftd.town.bead.closed"
EVENT_BYTES = 500
PUBLISH_AT_ONCE = 500
MAX_ACK_PENDING = {"gtftd": 256}
"""Ours is the reaction's concurrency; the others get the server's default."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=6)
    arguments.add_argument("--only", nargs="*", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    arguments.add_argument("--json", type=Path, help="write every figure here")
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    finishes = asyncio.run(race(chosen.events, chosen.rounds, chosen.only))
    report(finishes, chosen.events)
    if chosen.json:
        raw = {name: [vars(finish) for finish in found] for name, found in finishes.items()}
        chosen.json.write_text(json.dumps({"events": chosen.events, "finishes": raw}, indent=1) + "\n")


async def race(events: int, rounds: int, names: list[str]) -> dict[str, list[Finish]]:
    finishes: dict[str, list[Finish]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        server = EmbeddedServer(Path(folder), BusSettings(), "bench")
        login = await server.start()
        assert server.pid is not None
        client = await nats.connect(login.url, user=login.daemon_user, password=login.daemon_password)
        js = client.jetstream()
        await fill(js, events)
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                durable = f"{name}-{number}"
                await make_durable(js, name, durable)
                start = Race(login.url, login.daemon_user, login.daemon_password, STREAM, SUBJECT, durable, events)
                before_s = sum(psutil.Process(server.pid).cpu_times()[:2])
                finishes[name].append(await run_one(name, start))
                server_s = sum(psutil.Process(server.pid).cpu_times()[:2]) - before_s
                await check_and_delete(js, durable)
                told = finishes[name][-1]
                print(f"  {name:<22}{events / told.seconds:9.0f}/s  cpu {told.cpu_s:5.2f} s  server {server_s:5.2f} s")
        await client.close()
        await server.stop()
    return finishes


async def run_one(name: str, start: Race) -> Finish:
    script = Path(__file__).with_name("contestants.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), name, json.dumps(vars(start)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"{name} ended with {child.returncode}")
    return Finish(**json.loads(output))


async def fill(js: JetStreamContext, events: int) -> None:
    await js.add_stream(StreamConfig(name=STREAM, subjects=["gtftd.town.>"], max_bytes=256 * 1024**2))
    for start in range(0, events, PUBLISH_AT_ONCE):
        numbers = range(start, min(start + PUBLISH_AT_ONCE, events))
        waiting = [await js.publish_async(SUBJECT, body(number)) for number in numbers]
        await asyncio.gather(*waiting)


def body(number: int) -> bytes:
    """A closed bead as the poller tells it, padded in its reason to the size that all events have."""
    now = datetime.now(UTC)
    event = BeadClosed(
        at=now, seen_by="poll", database="gastown", bead=f"gt-{number:06}", title="Make the gate green", status="closed"
    )

    def encode(reason: str) -> bytes:
        told = event.model_copy(update={"reason": reason})
        return Envelope.wrap(told, id=f"event-{number:06}", source="gtftd/bench", time=now).encode()

    return encode("x" * (EVENT_BYTES - len(encode(""))))


async def make_durable(js: JetStreamContext, name: str, durable: str) -> None:
    config = ConsumerConfig(
        durable_name=durable,
        filter_subject=SUBJECT,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=30,
        max_ack_pending=MAX_ACK_PENDING.get(name, 1000),
    )
    await js.add_consumer(STREAM, config)


async def check_and_delete(js: JetStreamContext, durable: str) -> None:
    """A figure counts only when the server has every acknowledgement."""
    info = await js.consumer_info(STREAM, durable)
    if info.num_pending or info.num_ack_pending:
        raise SystemExit(f"{durable} left {info.num_pending} pending and {info.num_ack_pending} unacknowledged")
    await js.delete_consumer(STREAM, durable)


def report(finishes: dict[str, list[Finish]], events: int) -> None:
    print(f"\n{'events/s':<24}{'min':>9}{'median':>9}{'max':>9}{'cpu s':>9}")
    medians = {}
    for name, found in finishes.items():
        rates = [events / finish.seconds for finish in found]
        medians[name] = statistics.median(rates)
        cpu_s = statistics.median(finish.cpu_s for finish in found)
        print(f"{name:<24}{min(rates):9.0f}{medians[name]:9.0f}{max(rates):9.0f}{cpu_s:9.2f}")
    for name in [name for name in medians if name != "gtftd" and "gtftd" in medians]:
        pairs = [peer.seconds / own.seconds for own, peer in zip(finishes["gtftd"], finishes[name], strict=True)]
        median = statistics.median(pairs)
        print(f"  gtftd is {median:.2f} x {name} (median of the rounds, {min(pairs):.2f}-{max(pairs):.2f})")


if __name__ == "__main__":
    main()
