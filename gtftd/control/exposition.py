"""The metrics over HTTP, on loopback alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server

from gtftd.errors import Conflict


@contextlib.contextmanager
def metrics_served(registry: CollectorRegistry, *, listen: str, port: int) -> Iterator[int]:
    """Serve `http://listen:port/metrics` from a thread until the block ends; yields the port."""
    try:
        server, thread = start_http_server(port, addr=listen, registry=registry)
    except OSError as error:
        raise Conflict(f"cannot serve metrics on {listen}:{port}: {error}; set another metrics.port") from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
