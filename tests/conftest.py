"""What every test gets: quiet logs, and nothing left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd import logs


def pytest_configure() -> None:
    """Signals that a shell told its background jobs to ignore are heard: programs under test would ignore them too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def quiet_logs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Logs go to a file, so that a failing test shows its own words."""
    logs.configure("info", tmp_path_factory.getbasetemp() / "gtftd.log", console=False)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A test ends the threads that it started."""
    before = {thread.name for thread in threading.enumerate()}
    yield
    left = [
        thread.name for thread in threading.enumerate() if thread.name.startswith("gtftd") and thread.name not in before
    ]
    assert left == []


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of this process compute in float32 on the CPU, on machines with a GPU or units for bfloat16, too."""
    import torch

    from gtftd.training import model

    monkeypatch.setattr(model, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(model, "choose_dtype", lambda _device: torch.float32)


@pytest.fixture
def shared_data() -> Path:
    """The real exports beside the project; a test that wants them is skipped where they are not."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real exports are not here")
    return folder
