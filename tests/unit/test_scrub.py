"""The first scrubber: what must go goes, in every dress; what people write stays readable."""

from __future__ import annotations

import base64
import json
import random
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.scrub.known import known_values_of
from gtftd.scrub.scrubber import Scrubbed, Scrubber
from gtftd.town.conversation import RawCall, RawMessage

KEY = b"a key for tests, of 32 bytes...."
ALNUM = string.ascii_letters + string.digits


def scrubber(**known: str) -> Scrubber:
    return Scrubber(known, key=KEY, users=["adalovelace"], hosts=["gastown-box"])


def made(rng: random.Random, letters: str, size: int) -> str:
    return "".join(rng.choice(letters) for _ in range(size))


def planted(rng: random.Random) -> dict[str, str]:
    """One secret of each kind, of the shapes that the issuers document."""
    b64url = ALNUM + "-_"
    return {
        "anthropic": "sk-ant-api03-" + made(rng, b64url, 93) + "AA",
        "openai": "sk-proj-" + made(rng, b64url, 120),
        "openai old": "sk-" + made(rng, ALNUM, 48),
        "github": "ghp_" + made(rng, ALNUM, 36),
        "github app": "ghs_" + made(rng, ALNUM, 36),
        "github fine": "github_pat_" + made(rng, ALNUM, 22) + "_" + made(rng, ALNUM, 59),
        "gitlab": "glpat-" + made(rng, b64url, 20),
        "slack": f"xoxb-{made(rng, string.digits, 12)}-{made(rng, string.digits, 12)}-{made(rng, ALNUM, 24)}",
        "aws id": "AKIA" + made(rng, string.ascii_uppercase + "234567", 16),
        "aws secret": made(rng, ALNUM + "+/", 40),
        "google": "AIza" + made(rng, b64url, 35),
        "hugging face": "hf_" + made(rng, string.ascii_letters, 34),
        "npm": "npm_" + made(rng, ALNUM, 36),
        "pypi": "pypi-AgEIcHlwaS5vcmc" + made(rng, b64url, 150),
        "digitalocean": "dop_v1_" + made(rng, "0123456789abcdef", 64),
        "sendgrid": "SG." + made(rng, b64url, 22) + "." + made(rng, b64url, 43),
        "jwt": "eyJhbGciOiJIUzI1NiJ9." + made(rng, b64url, 80) + "." + made(rng, b64url, 43),
        "base62": made(rng, ALNUM, 32),
        "hex 32": made(rng, "0123456789abcdef", 32),
        "base64": base64.b64encode(rng.randbytes(48)).decode(),
    }


FRAMES = {
    "alone": "{}",
    "prose": "I used {} to log in, and it worked.",
    "env": "export SOME_VALUE={}\nnext",
    "quoted": 'client = Client("{}")',
    "json": '{{"a": 1, "value": "{}", "b": [2]}}',
    "json in json": '{{\\"a\\": \\"{}\\", \\"b\\": \\"x\\\\n\\"}}',
    "escaped newline": "first\\n{}\\nlast",
    "after n": "line\\n{}",
    "ansi": "\x1b[32m{}\x1b[0m done",
    "url": "https://host.example/path?x={}&y=1",
    "markdown": "`{}`",
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("frame", FRAMES)
def test_no_planted_secret_leaves(frame: str, seed: int) -> None:
    """Twenty kinds of secrets in eleven frames: nothing of 12 characters and more survives of any."""
    for kind, secret in planted(random.Random(seed)).items():
        scrubbed = scrubber().scrub_text(FRAMES[frame].format(secret))
        pieces = [secret[at : at + 12] for at in range(len(secret) - 11)]
        left = [piece for piece in pieces if piece in scrubbed]
        known = ("eyJhbGciOiJI", "AgEIcHlwaS5v")
        assert [] == [piece for piece in left if not piece.startswith(known)], (kind, scrubbed)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("DB_PASSWORD=hunter2", "hunter2"),
        ("DB_PASSWORD='hunter2'", "hunter2"),
        ("password: hunter2", "hunter2"),
        ('"password": "hunter2"', "hunter2"),
        ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
        ('password: str = "hunter2"', "hunter2"),
        ("password = 'correct horse'", "correct horse"),
        ("mycli --password hunter2 --verbose", "hunter2"),
        ("mycli --api-key=abc123def", "abc123def"),
        ("SLACK_TOKEN=abcdefgh", "abcdefgh"),
        ("client_secret = 'zzTop9'", "zzTop9"),
        ("<password>hunter2</password>", "hunter2"),
        ("AUTH_TOKEN: a1b2c3d4e5", "a1b2c3d4e5"),
        ("postgres://bob:s3cr3t@db.internal:5432/app", "s3cr3t"),
        ("redis://:s3cr3t@cache:6379/0", "s3cr3t"),
        ("root:s3cr3t@tcp(127.0.0.1:3307)/hq", "s3cr3t"),
        ('{"url": "https:\\/\\/bob:s3cr3t@host.dev\\/x"}', "s3cr3t"),
        ("git clone https://x-access-token:abcdef123@github.com/a/b", "abcdef123"),
        ("Authorization: Bearer abc.def-123456", "abc.def-123456"),
        ("Authorization: Basic Ym9iOnBhc3M=", "Ym9iOnBhc3M="),
        ("curl -u bob:s3cr3t https://host.dev", "s3cr3t"),
        ("machine api.host.dev login bob password s3cr3t", "s3cr3t"),
        ("sshpass -p s3cr3t ssh bob@host", "s3cr3t"),
        ("ghp_ab\\u0063defghijklmnopqrstuvwxyz0123456789", "defghijklmnopqrs"),
        ("ghp_abcdefgh\x1b[0mijklmnopqrstuvwxyz0123456789", "ijklmnop"),
        ("ghp_abcdefgh\u200bijklmnopqrstuvwxyz0123456789", "ijklmnop"),
        ("mail ada.lovelace@engines.co.uk today", "ada.lovelace"),
        ("ssh 45.33.32.156", "45.33.32.156"),
        ("peer 2a02:8070:85a3::8a2e:370:7334 up", "2a02:8070:85a3"),
        ("/home/ada/gt/CLAUDE.md", "ada"),
        ("/Users/ada/gt", "ada"),
        ("~/.claude/projects/-home-ada-gt/x.jsonl", "ada"),
        ("ask adalovelace about it", "adalovelace"),
        ("on gastown-box now", "gastown-box"),
    ],
)
def test_secrets_that_only_their_place_gives_away(text: str, secret: str) -> None:
    """Names, connection strings, headers, flags and people: the value goes, whatever it looks like."""
    assert secret not in scrubber().scrub_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "bd close gt-abc12 --reason='Merged in gt-wisp-x9y8z' && gt done",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\nAuthor: nobody",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b fix: the thing",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "index 3f2a9c1..8b7d6e5 100644",
        "uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd",
        "gastown v1.2.3, claude 2.1.34, version 1.2.3.4, file 10.0.0",
        "from gtftd.scrub.scrubber import Scrubber  # internal/polecat/session_manager.go:596",
        "github.com/steveyegge/gastown/internal/formula/formulas/mol-polecat-work.formula.toml",
        "def test_the_longest_name_that_anybody_ever_wrote_in_python_code(): ...",
        "getElementByDataTestIdAttribute(MAX_CONCURRENT_DOWNLOADS_PER_SESSION)",
        "session 0b9c2f0e-5f2e-4f0e-9f65-0d2a54a8c111 at 2026-03-05T10:00:05.250Z",
        "toolu_01A09q90qw90lq917835lq9 and msg_013Zva2CMHLNnjNjJKqJ2EF1",
        "max_tokens=4096, input_tokens: 14210, tokenizer: llama, token_count = 5",
        "password = get_password(user); token := os.Getenv('X'); secret = self.secret",
        "password: string; token?: string | null",
        "export GITHUB_TOKEN=$GH_TOKEN PASSWORD=${DB_PASSWORD}",
        "git@github.com:steveyegge/gastown.git, http://127.0.0.1:3307, 0.0.0.0:80, ::1",
        "@pytest.mark.parametrize, lodash@4.17.21, getty@tty1.service, noreply@anthropic.com",
        "std::vec::Vec, a::b, 10:15:00, fe: fi",
        "-" * 200 + "\n" + "=" * 200 + "\n" + "x" * 200,
        "polecat/nux/gt-abc12@mlx3k9 origin/integration/hq-cv-ab12c",
        "go: github.com/x/y v0.0.0-20260305101500-3f2a9c18b7d6",
        "/nix/var, /usr/lib/python3.11/site-packages/detect_secrets/plugins/high_entropy_strings.py",
        "Bearer authentication is used. The password is wrong. Enter a token: please",
    ],
)
def test_what_people_write_stays_readable(text: str) -> None:
    """Code, paths, ids, versions and checksums in their places are not touched."""
    assert text == scrubber().scrub_text(text)


def test_placeholders_are_typed_keyed_and_stable() -> None:
    """The same secret reads the same wherever it stands; another key gives another name."""
    token = "ghp_" + "a1B2" * 9
    first, again = (scrubber().scrub_text(f"{frame}{token}") for frame in ("x ", 'y="'))
    assert first[2:] == again[3:] and first.startswith("x <GITHUB_TOKEN:")
    other = Scrubber({}, key=KEY[::-1]).scrub_text(f"x {token}")
    assert first != other and token not in other


def test_a_short_key_is_refused() -> None:
    """Placeholders made with a guessable key could be tested against guesses."""
    with pytest.raises(ValueError, match="16"):
        Scrubber({}, key=b"short")


def test_only_the_scrubber_makes_scrubbed_text() -> None:
    """A sink that asks for Scrubbed cannot be given anything else by mistake."""
    with pytest.raises(TypeError):
        Scrubbed("text")
    scrubbed = scrubber().scrub_text("text")
    assert isinstance(scrubbed, Scrubbed) and not isinstance(scrubbed + "more", Scrubbed)


def test_known_values_go_in_every_encoding() -> None:
    """The town's own secrets, however dull they look, plain, quoted, in JSON and in base64."""
    value = 'correct horse+battery/staple"'
    hidden = scrubber(town_pass=value)
    coded = base64.b64encode(b"user:" + value.encode()).decode()
    for text in (value, json.dumps(value), "correct%20horse%2Bbattery%2Fstaple%22", f"x {coded} y"):
        scrubbed = hidden.scrub_text(text)
        assert "<TOWN_PASS:" in scrubbed and "battery" not in scrubbed, text
    assert base64.b64encode(value.encode())[:12].decode() not in hidden.scrub_text(coded)


def test_private_keys_go_whole() -> None:
    """With and without an end, with real and with written newlines."""
    body = "\n".join(made(random.Random(3), ALNUM, 64) for _ in range(20))
    block = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"
    for text in (f"a\n{block}\nb", f"a {json.dumps(block)} b", f"a\n{block[:700]}"):
        scrubbed = scrubber().scrub_text(text)
        assert "<PRIVATE_KEY:" in scrubbed and body[70:90] not in scrubbed and scrubbed.startswith("a")
    assert scrubber().scrub_text(f"{block}\nb").endswith(">\nb")


def test_json_stays_json() -> None:
    """Text that is JSON parses after scrubbing, also where a bare number was a secret."""
    text = json.dumps({"password": 12345678, "url": "https://a:b3c4d5@h.dev/", "token": "ghp_" + "Ab1" * 12, "n": 3})
    scrubbed = json.loads(scrubber().scrub_text(text))
    assert 3 == scrubbed["n"] and scrubbed["password"].startswith("<PASSWORD:")
    again = json.loads(scrubber().scrub_text(json.dumps({"inner": text})))
    assert json.loads(again["inner"])["url"].startswith("https://a:<PASSWORD:")


def test_values_are_scrubbed_under_their_keys_and_in_their_keys() -> None:
    """A key may be the secret, or may say that its value is one; numbers and structure stay."""
    token = "ghp_" + "Ab1" * 12
    counts: Counter[str] = Counter()
    value = {
        "password": "hunter2",
        token: [1, 2.5, None, True, {"pin_secret": 123456}],
        "x": float("nan"),
        "o": object(),
    }
    scrubbed = scrubber().scrub_value(value, counts)
    text = json.dumps(scrubbed)
    assert "hunter2" not in text and token not in text and "123456" not in text
    assert [1, 2.5, None, True] == next(item for item in scrubbed.values() if isinstance(item, list))[:4]
    assert scrubbed["x"] is None and scrubbed["o"] == "<DROPPED:not_json>" and counts["not_json"] == 1


def test_deep_values_are_dropped_not_followed() -> None:
    """Ten thousand levels cost thirty-two."""
    value: object = "x"
    for _ in range(10_000):
        value = [value]
    assert "<DROPPED:too_deep>" in json.dumps(scrubber().scrub_value(value))


def test_a_message_becomes_a_message() -> None:
    """Content, call and result are scrubbed alike; ids that join them stay equal; counts tell the kinds."""
    token = "ghp_" + "Ab1" * 12
    raw = RawMessage(
        "assistant", f"use {token}", (RawCall("toolu_01Ab", "Bash", {"command": f"login {token}"}),), trainable=True
    )
    message, counts = scrubber().scrub_message(raw)
    answer, _ = scrubber().scrub_message(RawMessage("tool", "ok", tool_call_id="toolu_01Ab"))
    assert token not in message.model_dump_json() and message.trainable
    assert message.tool_calls[0].id == answer.tool_call_id
    assert {"GITHUB_TOKEN": 2} == dict(counts)


@pytest.mark.parametrize(
    "odd", ["\ud800lone", "nul\0nul", "\x1b[", "\x1b]0;title", "\u0130" * 50 + "PASSWORD=hunter2", ""]
)
def test_broken_text_is_still_text(odd: str) -> None:
    """Lone surrogates, NUL and half escapes come out as something that every encoder takes."""
    scrubbed = scrubber().scrub_text(odd)
    scrubbed.encode()
    assert "\0" not in scrubbed and "hunter2" not in scrubbed


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_scrubbing_twice_changes_nothing(text: str) -> None:
    """What left the scrubber passes it unchanged, so that a second run is harmless."""
    once = scrubber().scrub_text(text)
    assert once == scrubber().scrub_text(once)


FRAGMENTS = [
    "ghp_aB1kQ9xZ3mN7vR5tY2uW8pL4sD6fG0hJ1cX3", "PASSWORD=", "token: ", '"', "'", "\\", "\n", " ", "://", ":", "@",
    "a.b", "x1", "eyJ", "-----BEGIN RSA PRIVATE KEY-----", "<TOKEN:abcdef>", "é", "curl -u ", "10.1.2.3",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25))
@settings(max_examples=300, deadline=None)
def test_fragments_of_secrets_never_break_it(pieces: list[str]) -> None:
    """Any mixture of the marks that rules look for: it ends, a second run agrees, and the token is gone."""
    once = scrubber().scrub_text("".join(pieces))
    assert "aB1kQ9xZ3mN7" not in once
    assert once == scrubber().scrub_text(once)


@pytest.mark.parametrize(
    "unit",
    ["a", "aB3", "eyJ", "sk-", "://", "://a:", "token=", 'pwd="', "-----BEGIN RSA PRIVATE KEY-----!", "@",
     "a@", "1.", "1:", "\x1b[",
     "\x1b]", "mysql ", "curl -u a:", "machine ", "\\u0061", "/home/", "bearer ", "=", "\\", "xox",
     "ghp_", "a-", "Authorization: "],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_hostile_repetition_costs_no_more_than_linear(unit: str) -> None:
    """A quarter megabyte of any mark that a rule looks for is done; a quadratic rule would need hours."""
    scrubber().scrub_text(unit * (250_000 // len(unit)))


def test_the_version_is_that_of_the_rules() -> None:
    """Known values and the key are not part of it: it may be printed."""
    assert scrubber(a="12345678").version == Scrubber({}, key=KEY[::-1]).version


def test_known_values_come_from_where_towns_keep_them(tmp_path: Path) -> None:
    """Environment, env files of town and rigs, the daemon's env map, stored git credentials; dull ones are left out."""
    rig, home = tmp_path / "gastown", tmp_path / "home"
    for folder in (rig, home, tmp_path / "mayor"):
        folder.mkdir()
    (tmp_path / ".env").write_text(
        '# c\nexport A_TOKEN="town-token-1"\nNODE_ENV=production\nDSN=my://a:pass-in-dsn@h/x\n'
    )
    (rig / ".env.local").write_text("B_KEY=rig-key-22\nPIN_SECRET=short\n")
    (tmp_path / "mayor" / "daemon.json").write_text(json.dumps({"env": {"C_PASSWORD": "daemon-pass", "GT_X": "1"}}))
    (home / ".git-credentials").write_text("https://bob:git%2Dpassword@github.com\nnonsense\n")
    found = known_values_of(tmp_path, [rig], environ={"D_SECRET": "from-environ", "PATH": "/usr/bin:/bin"}, home=home)
    expected = {
        "town-token-1",
        "rig-key-22",
        "daemon-pass",
        "from-environ",
        "git-password",
        "git%2Dpassword",
        "pass-in-dsn",
    }
    assert expected == set(found.values())


def test_known_values_come_from_credential_files(tmp_path: Path) -> None:
    """netrc, npm, pip, docker, aws, gh, each Claude account, and the environment of agents in the settings."""
    made = {name: f"{name}-Zk3mQ8vR2xT7" for name in ("netrc", "npm", "pip", "docker", "aws", "gh", "claude", "agent")}
    home, account = tmp_path / "home", tmp_path / "account"
    for folder in (
        home / ".docker",
        home / ".aws",
        home / ".config" / "gh",
        account,
        tmp_path / "mayor",
        tmp_path / "settings",
    ):
        folder.mkdir(parents=True)
    (home / ".netrc").write_text(f"machine h.dev login bob password {made['netrc']}\n")
    (home / ".npmrc").write_text(f"//registry.h.dev/:_authToken={made['npm']}\n")
    (home / ".pypirc").write_text(f"[pypi]\nusername = __token__\npassword = {made['pip']}\n")
    auth = base64.b64encode(f"bob:{made['docker']}".encode()).decode()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {"h.dev": {"auth": auth}}}))
    (home / ".aws" / "credentials").write_text(f"[default]\naws_secret_access_key = {made['aws']}\n")
    (home / ".config" / "gh" / "hosts.yml").write_text(f"github.com:\n    oauth_token: {made['gh']}\n")
    (account / ".credentials.json").write_text(json.dumps({"claudeAiOauth": {"accessToken": made["claude"]}}))
    (tmp_path / "mayor" / "accounts.json").write_text(json.dumps({"accounts": {"a": {"config_dir": str(account)}}}))
    (tmp_path / "settings" / "config.json").write_text(
        json.dumps({"agents": {"x": {"env": {"X_TOKEN": made["agent"]}}}})
    )
    found = known_values_of(tmp_path, [], environ={}, home=home)
    assert set(made.values()) <= set(found.values())
