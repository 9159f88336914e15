"""What parsed before it was scrubbed parses afterwards."""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib

import pytest
import yaml

from gtftd.scrub import Scrubber

SCRUBBER = Scrubber({}, key=b"a key for tests, of 32 bytes....")
TOKEN = "gh" + "p_" + "aB1kQ9xZ3mN7vR5tY2uW8pL4sD6fG0hJ1cX3"
ODD = "zQ8vK2mX7rT4pL9wB3nD"


@pytest.mark.parametrize(
    "text",
    [
        f"export GH_TOKEN={TOKEN}",
        f"export DB_PASSWORD={ODD}\necho done",
        f"GH_TOKEN={TOKEN} gh repo list",
        f"curl -u bob:{ODD} https://host.dev/x",
        f"curl -H 'Authorization: Bearer {TOKEN}' https://host.dev",
        f'curl -H "X-Api-Key: {ODD}" https://host.dev | jq .',
        f"git clone https://x-access-token:{TOKEN}@github.com/a/b.git",
        f"mycli --password {ODD}",
        f"mysql -u root -p{ODD} hq",
        f"for f in *; do echo {TOKEN}; done",
        f"cat <<EOF\npassword: {ODD}\nEOF",
    ],
)
def test_a_command_still_parses(text: str) -> None:
    """`bash -n` takes the command of a tool call as it left the scrubber, and the secret is gone."""
    command = SCRUBBER.scrub_value({"command": text})["command"]
    assert TOKEN not in command and ODD not in command
    subprocess.run(["bash", "-n"], input=command.encode(), check=True, timeout=10)


@pytest.mark.parametrize(
    "text",
    [
        f'GITHUB = "{TOKEN}"\n',
        f"password = '{ODD}'\n",
        "PASSWORD = 1234567890\n",
        f'client = Client(api_key="{ODD}", retries=3)\n',
        f'headers = {{"Authorization": "Bearer {TOKEN}"}}\n',
        f'x = f"https://bob:{ODD}@host.dev/{{path}}"\n',
    ],
)
def test_python_still_parses(text: str) -> None:
    """Strings stay strings, a bare number becomes one."""
    scrubbed = SCRUBBER.scrub_text(text)
    ast.parse(scrubbed)
    assert TOKEN not in scrubbed and ODD not in scrubbed and "1234567890" not in scrubbed


@pytest.mark.parametrize(
    "value",
    [
        {"password": 12345678},
        {"a": [{"api_key": ODD}], "n": 1},
        {"cmd": f"export T={TOKEN} && ls"},
        {"s": json.dumps({"token": TOKEN, "password": 87654321})},
    ],
)
def test_json_still_parses(value: object) -> None:
    """Also JSON inside of JSON, and with two spaces."""
    for indent in (None, 2):
        scrubbed = SCRUBBER.scrub_text(json.dumps(value, indent=indent))
        loaded = json.loads(scrubbed)
        if isinstance(value, dict) and "s" in value:
            json.loads(loaded["s"])
        assert not any(part in scrubbed for part in (TOKEN, ODD, "12345678", "87654321"))


def test_toml_and_yaml_still_parse() -> None:
    """Bare numbers and bare words."""
    toml = f'[a]\npassword = 12345678\ntoken = "{TOKEN}"\nn = 3\n'
    assert 3 == tomllib.loads(SCRUBBER.scrub_text(toml))["a"]["n"]
    text = f"db:\n  password: {ODD}\n  token: {TOKEN}\n  list: [1, 2]\n"
    assert [1, 2] == yaml.safe_load(SCRUBBER.scrub_text(text))["db"]["list"]
