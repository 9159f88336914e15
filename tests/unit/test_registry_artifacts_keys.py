"""The key of a state directory: made once, read by nobody else; signatures of it and of those who are trusted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gtftd.errors import Invalid, Refused
from gtftd.registry.signing import Keys


def test_the_key_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    """The second start signs as the first."""
    first, again = Keys.open(tmp_path / "keys"), Keys.open(tmp_path / "keys")
    assert (first.own_public, 0o600) == (
        again.own_public,
        stat.S_IMODE((tmp_path / "keys/registry.key").stat().st_mode),
    )
    assert first.own_public == again.check(b"content", first.sign(b"content"))
    assert first._secret.hex() not in repr(first)


def test_two_who_come_at_once_have_one_key(tmp_path: Path) -> None:
    """What the first signs, the second trusts."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(Keys.open(tmp_path).own_public)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1) == (len(found), len(set(found)))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o604])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    """It vouches for nothing any more."""
    Keys.open(tmp_path)
    (tmp_path / "registry.key").chmod(mode)
    with pytest.raises(Refused, match="chmod 600"):
        Keys.open(tmp_path)


def test_a_key_behind_a_link_or_without_a_key_in_it_is_refused(tmp_path: Path) -> None:
    """The folder holds the key itself."""
    Keys.open(tmp_path / "other")
    (tmp_path / "registry.key").symlink_to(tmp_path / "other" / "registry.key")
    with pytest.raises(Refused):
        Keys.open(tmp_path)
    (tmp_path / "other" / "registry.key").write_text("no key")
    with pytest.raises(Refused, match="holds no key"):
        Keys.open(tmp_path / "other")


def test_only_the_very_content_and_a_trusted_key_pass(tmp_path: Path) -> None:
    """Other content, another signer, another spelling: refused."""
    ours, theirs = Keys.open(tmp_path / "ours"), Keys.open(tmp_path / "theirs")
    signature = ours.sign(b"content")
    wrong = [
        (b"contents", signature),
        (b"content", theirs.sign(b"content")),
        (b"content", theirs.sign(b"content").replace(theirs.own_public, ours.own_public)),
        (b"content", signature.replace("ed25519", "none")),
        (b"content", signature.upper()),
        (b"content", signature + " "),
        (b"content", signature.replace('"key"', '"a": 1, "key"')),
        (b"content", signature[:-20]),
        (b"content", ""),
        (b"content", "[" * 4000),
        (b"content", "x" * 5000),
        (b"content", "\ud800"),
    ]
    for content, text in wrong:
        with pytest.raises(Refused):
            ours.check(content, text)
    assert theirs.own_public == Keys.open(tmp_path / "ours", [theirs.own_public]).check(b"x", theirs.sign(b"x"))


@pytest.mark.parametrize("key", ["", "abc", "G" * 64, "A" * 64, "0" * 63 + "\n"])
def test_a_trusted_key_that_is_none_is_told(tmp_path: Path, key: str) -> None:
    """At once, not when something of theirs comes."""
    with pytest.raises(Invalid, match="trusted_keys"):
        Keys.open(tmp_path, [key])


def test_cryptography_is_loaded_when_something_is_signed(tmp_path: Path) -> None:
    """Not by the import, and not by opening the keys: both stand in the way of every command."""
    code = """if True:
        import sys
        from pathlib import Path
        from gtftd.registry.artifacts import ArtifactStore
        from gtftd.registry.signing import Keys
        keys = Keys.open(Path(sys.argv[1]))
        assert [] == ArtifactStore(Path(sys.argv[1]) / "models", keys).digests()
        print("cryptography" in sys.modules)
        keys.sign(b"")
        print("cryptography" in sys.modules)
    """
    told = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, env=os.environ
    )
    assert ["False", "True"] == told.stdout.split()
