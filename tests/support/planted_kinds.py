"""The kinds of secret that are planted, by class: typed, generic, known, pii."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.support import planted_mint as mint
from tests.support.planted_mint import BASE32, BASE62, BASE64, DIGITS, HEX, LOWER, UPPER, URLSAFE, Minted, some, whole

Group = Literal["typed", "generic", "known", "pii"]
Form = Literal["token", "keyed", "line", "block"]


@dataclass(frozen=True)
class Kind:
    """`token` speaks for itself anywhere; `keyed` needs its key; `line` and `block` have sentences of their own."""

    name: str
    group: Group
    form: Form
    make: Callable[[Random], Minted]
    keys: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    held_out_lines: tuple[str, ...] = ()
    needs_whole: bool = False
    """Seen only if all of it survives: for names and addresses, whose parts are ordinary text."""


def _pattern(*parts: str | tuple[str, int]) -> Callable[[Random], Minted]:
    """Fixed text and (alphabet, count), in order."""

    def make(rng: Random) -> Minted:
        return whole("".join(part if isinstance(part, str) else some(rng, *part) for part in parts))

    return make


def _token(name: str, keys: str, *parts: str | tuple[str, int]) -> Kind:
    return Kind(name, "typed", "token", _pattern(*parts), tuple(keys.split()))


def _keyed(name: str, keys: str, *parts: str | tuple[str, int]) -> Kind:
    return Kind(name, "typed", "keyed", _pattern(*parts), tuple(keys.split()))


def _made(name: str, keys: str, make: Callable[[Random], Minted | str], form: Form = "token") -> Kind:
    def minted(rng: Random) -> Minted:
        made = make(rng)
        return whole(made) if isinstance(made, str) else made

    return Kind(name, "typed", form, minted, tuple(keys.split()))


def _one_of(*makers: Callable[[Random], Minted]) -> Callable[[Random], Minted]:
    return lambda rng: rng.choice(makers)(rng)


def _github(rng: Random) -> str:
    return mint.with_crc(rng.choice(["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]), some(rng, BASE62, 30))


def _github_fine(rng: Random) -> str:
    return f"github_pat_{some(rng, BASE62, 22)}_{some(rng, BASE62, 59)}"


def _slack(rng: Random) -> str:
    team, user = some(rng, DIGITS, 12), some(rng, DIGITS, 13)
    return rng.choice(
        [
            f"xoxb-{team}-{user}-{some(rng, BASE62, 24)}",
            f"xoxp-{team}-{user}-{some(rng, DIGITS, 13)}-{some(rng, HEX, 32)}",
            f"xapp-1-A{some(rng, UPPER + DIGITS, 10)}-{user}-{some(rng, HEX, 64)}",
        ]
    )


def _discord(rng: Random) -> str:
    user = mint.b64url(str(rng.randint(10**17, 10**18)).encode())
    return f"{user}.{some(rng, URLSAFE, 6)}.{some(rng, URLSAFE, 38)}"


def _openai(rng: Random) -> str:
    return rng.choice(
        [
            f"sk-{some(rng, BASE62, 20)}T3BlbkFJ{some(rng, BASE62, 20)}",
            f"sk-{rng.choice(['proj', 'svcacct', 'admin'])}-{some(rng, URLSAFE, 74)}T3BlbkFJ{some(rng, URLSAFE, 74)}",
            f"sk-proj-{some(rng, URLSAFE, 58)}T3BlbkFJ{some(rng, URLSAFE, 58)}",
        ]
    )


TYPED: tuple[Kind, ...] = (
    _made("github_token", "GITHUB_TOKEN GH_TOKEN", _github),
    _made("github_fine_grained", "GITHUB_TOKEN GH_PAT", _github_fine),
    _token("gitlab_token", "GITLAB_TOKEN CI_JOB_TOKEN", "glpat-", (URLSAFE, 20)),
    _token("aws_key_id", "AWS_ACCESS_KEY_ID", "AKIA", (BASE32, 16)),
    _keyed("aws_secret_key", "AWS_SECRET_ACCESS_KEY aws_secret_access_key", (BASE64, 40)),
    _keyed("aws_session_token", "AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjE", (BASE64, 343)),
    _made("slack_token", "SLACK_BOT_TOKEN SLACK_TOKEN", _slack),
    _made("stripe_key", "STRIPE_SECRET_KEY STRIPE_API_KEY", lambda rng: f"{rng.choice(['sk_live_', 'rk_live_', 'sk_test_'])}51{some(rng, BASE62, 97)}"),
    _made("jwt", "SESSION_JWT ID_TOKEN", mint.jwt),
    _made("pem_rsa", "PRIVATE_KEY", lambda rng: mint.pem(rng, "RSA PRIVATE KEY", 1187), "block"),
)

_PASSWORD_KEYS = "DB_PASSWORD POSTGRES_PASSWORD SMTP_PASSWORD ADMIN_PASSWORD REDIS_PASSWORD".split()
_SECRET_KEYS = "SECRET_KEY SESSION_SECRET ENCRYPTION_KEY API_KEY CLIENT_SECRET ACCESS_TOKEN WEBHOOK_SECRET".split()


def _generic(name: str, keys: list[str], make: Callable[[Random], str]) -> Kind:
    return Kind(name, "generic", "keyed", lambda rng: whole(make(rng)), tuple(keys))


GENERIC: tuple[Kind, ...] = (
    _generic("password", _PASSWORD_KEYS, mint.password),
    _generic("hex_key", _SECRET_KEYS, lambda rng: some(rng, HEX, rng.choice([32, 40, 48, 64]))),
)

KNOWN_VALUES: dict[str, str] = {}
USERS: tuple[str, ...] = ()
HOSTS: tuple[str, ...] = ()
HOME = "/srv/town"
KNOWN: tuple[Kind, ...] = ()
PII: tuple[Kind, ...] = ()


def kinds() -> Iterator[Kind]:
    yield from (*TYPED, *GENERIC, *KNOWN, *PII)
