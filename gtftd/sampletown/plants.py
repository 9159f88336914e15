"""Fake secrets for the scrubber to find: made from the seed, valid nowhere."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + "234567"
_BASE64 = _ALNUM + "+/"
_URLSAFE = _ALNUM + "-_"


@dataclass(frozen=True)
class Plant:
    """`text` is what must not survive; `shown` is how it stands in a command's output or a prompt."""

    kind: str
    text: str
    shown: str


def make_plant(kind: str, rng: random.Random) -> Plant:
    """A plant of one of KINDS."""
    return _MAKERS[kind](rng)


def _draw(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


def _github(rng: random.Random) -> Plant:
    token = "ghp_" + _draw(rng, _ALNUM, 36)
    return Plant("github", token, f"origin  https://x-access-token:{token}@github.com/acme/berths.git (fetch)")


def _aws_key(rng: random.Random) -> Plant:
    key = "AKIA" + _draw(rng, _UPPER, 16)
    return Plant("aws-key", key, f"AWS_ACCESS_KEY_ID={key}\nAWS_DEFAULT_REGION=eu-west-3")


def _aws_secret(rng: random.Random) -> Plant:
    secret = _draw(rng, _BASE64, 40)
    return Plant("aws-secret", secret, f"[default]\naws_secret_access_key = {secret}")


def _anthropic(rng: random.Random) -> Plant:
    key = f"sk-ant-api03-{_draw(rng, _URLSAFE, 93)}AA"
    return Plant("anthropic", key, f"ANTHROPIC_API_KEY={key}")


def _slack(rng: random.Random) -> Plant:
    token = f"xoxb-{_draw(rng, string.digits, 12)}-{_draw(rng, string.digits, 12)}-{_draw(rng, _ALNUM, 24)}"
    return Plant("slack", token, f'notify:\n  slack_token: "{token}"\n  channel: "#harbor"')


def _email(rng: random.Random) -> Plant:
    name = rng.choice(("marta.lindqvist", "j.okafor", "p.dasilva", "yuki.tanabe", "r.whitcombe"))
    address = f"{name}{rng.randrange(10, 99)}@{rng.choice(('tidewater-marina.com', 'quayside.io', 'skerry.net'))}"
    return Plant("email", address, f"Author: {name.replace('.', ' ').title()} <{address}>")


def _address(rng: random.Random) -> Plant:
    ip = ".".join(str(rng.randrange(low, high)) for low, high in ((45, 99), (1, 254), (1, 254), (1, 254)))
    return Plant("ip", ip, f"connect to {ip} port 5432: connection refused")


def _dsn(rng: random.Random) -> Plant:
    password = _draw(rng, _ALNUM, 18)
    return Plant("dsn-password", password, f"DATABASE_URL=postgres://berths:{password}@db.internal:5432/berths")


def _home(rng: random.Random) -> Plant:
    user = rng.choice(("mvidal", "kstorm", "ahorvat", "tnguyen", "lbrandt")) + str(rng.randrange(10, 99))
    return Plant("home", f"/home/{user}", f'  File "/home/{user}/gt/harbor/berths/store.py", line 88, in load')


def _jwt(rng: random.Random) -> Plant:
    token = f"eyJhbGciOiJIUzI1NiJ9.eyJ{_draw(rng, _URLSAFE, 60)}.{_draw(rng, _URLSAFE, 43)}"
    return Plant("jwt", token, f"> Authorization: Bearer {token}\n< HTTP/1.1 401 Unauthorized")


def _private_key(rng: random.Random) -> Plant:
    lines = [_draw(rng, _BASE64, 64) for _ in range(6)]
    body = "\n".join(lines)
    return Plant("private-key", lines[2], f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----")


_MAKERS: dict[str, Callable[[random.Random], Plant]] = {
    "github": _github, "aws-key": _aws_key, "aws-secret": _aws_secret, "anthropic": _anthropic, "slack": _slack,
    "email": _email, "ip": _address, "dsn-password": _dsn, "home": _home, "jwt": _jwt, "private-key": _private_key,
}  # fmt: skip
KINDS = tuple(_MAKERS)
