"""What the machine has left for us, as files of it tell; the files are laid out as the kernel does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtftd.machine import OomWatch, free_memory_bytes, load_average

MIB = 2**20


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in ({"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {900 * 1024} kB\n"} | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_a_machine_without_limits_has_what_is_available(tmp_path: Path) -> None:
    assert 900 * MIB == free_memory_bytes(machine(tmp_path, {}))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"own/memory.max": f"{500 * MIB}"}, 500 - 300 + 120),
        ({"own/memory.max": "max", "own/memory.high": f"{400 * MIB}"}, 400 - 300 + 120),
        ({"own/memory.max": f"{100 * MIB}"}, 0),
        ({"memory.max": f"{600 * MIB}", "memory.current": f"{550 * MIB}"}, 50),
        ({"own/memory.max": "nonsense"}, 900),
    ],
)
def test_the_limits_of_control_groups_hold(tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    """Of ours and of those around it; what files left in memory is given back when somebody needs it."""
    group = {
        "own/memory.current": f"{300 * MIB}",
        "own/memory.stat": f"anon 5\ninactive_file {100 * MIB}\nactive_file {20 * MIB}\n",
    } | limits
    files = {f"sys/fs/cgroup/a.slice/{name}": content for name, content in group.items()}
    root = machine(tmp_path, files | {"proc/self/cgroup": "0::/a.slice/own\n"})
    assert expected * MIB == free_memory_bytes(root)


def test_the_first_version_of_control_groups_counts_too(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/box\n0::/\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{200 * MIB}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{150 * MIB}\n",
        "sys/fs/cgroup/memory/box/memory.stat": f"total_inactive_file {10 * MIB}\n",
    }
    root = machine(tmp_path, files)
    assert 60 * MIB == free_memory_bytes(root)


def test_a_sandbox_that_hides_the_machine_is_borne(tmp_path: Path) -> None:
    assert free_memory_bytes(tmp_path) > 0
    assert 0.0 == load_average(tmp_path)
    assert not OomWatch(7, tmp_path).has_killed()


def test_a_kill_counts_where_the_process_lives(tmp_path: Path) -> None:
    """In the group to which it was moved; that somebody else was killed elsewhere is none of its business."""
    group, mine, machines = "sys/fs/cgroup/{}/memory.events", "low 0\noom_kill {}\n", "nr_free_pages 5\noom_kill {}\n"
    root = machine(tmp_path, {"proc/7/cgroup": "0::/a\n", "proc/vmstat": machines.format(4)})
    lonely = OomWatch(7, root)
    machine(root, {"proc/vmstat": machines.format(5)})
    assert lonely.has_killed()
    machine(root, {group.format("a"): mine.format(1), group.format("b"): mine.format(6)})
    watch = OomWatch(7, root)
    machine(root, {"proc/vmstat": machines.format(6)})
    assert not watch.has_killed()
    machine(root, {"proc/7/cgroup": "0::/b\n", "proc/7/stat": "7 (a ) b) R 1 7 7 0 -1 4194304 0"})
    watch.look()
    assert not watch.has_killed()
    machine(root, {group.format("b"): mine.format(7)})
    machine(root, {"proc/7/cgroup": "0::/\n", "proc/7/stat": "7 (a ) b) R 1 7 7 0 -1 4194308 0"})
    watch.look()
    assert watch.has_killed(), "also while it ends"
    (root / "proc/7/cgroup").unlink()
    (root / "proc/7/stat").unlink()
    watch.look()
    assert watch.has_killed(), "also when it is gone"
