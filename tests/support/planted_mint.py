"""How values of each published format are made: alphabets, lengths and checksums as the issuers give them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = LOWER.upper()
BASE62 = DIGITS + UPPER + LOWER
BASE32 = UPPER + "234567"
HEX = DIGITS + "abcdef"
URLSAFE = BASE62 + "-_"
BASE64 = BASE62 + "+/"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
SYMBOLS = "!@#%^*-_+=?.~"
WORDS = [
    "otter",
    "plum",
    "harbor",
    "velvet",
    "canyon",
    "ember",
    "lantern",
    "maple",
    "quartz",
    "raven",
    "saddle",
    "thunder",
    "willow",
    "zephyr",
    "anchor",
    "bramble",
    "cedar",
    "dagger",
    "falcon",
    "granite",
    "hollow",
    "island",
    "jasper",
    "kettle",
    "lobster",
    "meadow",
    "nectar",
    "oyster",
    "pepper",
    "quiver",
    "ribbon",
    "spruce",
    "tunnel",
]
NAMES = [
    "marlow",
    "ingrid",
    "tadashi",
    "priya",
    "olamide",
    "beatriz",
    "henrik",
    "soraya",
    "calloway",
    "dmitri",
    "yusuf",
    "annika",
    "leopold",
    "renata",
]
APPS = [
    "billing",
    "relay",
    "ledger",
    "gateway",
    "courier",
    "indexer",
    "mailer",
    "atlas",
    "beacon",
    "foundry",
    "harvest",
    "notary",
    "pylon",
    "sentinel",
]


@dataclass(frozen=True)
class Minted:
    """What is written, and the parts of it nobody may see."""

    shown: str
    secrets: tuple[str, ...]


def whole(text: str) -> Minted:
    return Minted(text, (text,))


def some(rng: Random, alphabet: str, count: int) -> str:
    """`count` characters; never poor in kinds, as no issuer's random source is."""
    while True:
        text = "".join(rng.choices(alphabet, k=count))
        if count < 12 or len(set(text)) >= min(6, len(set(alphabet))):
            return text


def base62_of(number: int, width: int) -> str:
    text = ""
    while number:
        number, rest = divmod(number, 62)
        text = BASE62[rest] + text
    return text.rjust(width, "0")


def with_crc(prefix: str, body: str) -> str:
    """GitHub's and npm's way: the CRC32 of the random part, base 62, six characters."""
    return prefix + body + base62_of(zlib.crc32(body.encode()), 6)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def jwt(rng: Random) -> Minted:
    now = rng.randint(1_760_000_000, 1_790_000_000)
    header = {"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}
    if rng.random() < 0.4:
        header["kid"] = some(rng, HEX, 12)
    claims = {"sub": str(rng.randint(10**6, 10**9)), "name": rng.choice(NAMES), "iat": now, "exp": now + 3600}
    signature = rng.randbytes(256 if header["alg"] == "RS256" else 32 if header["alg"] == "HS256" else 64)
    parts = [b64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    text = ".".join([*parts, b64url(signature)])
    return Minted(text, (parts[1], b64url(signature)))


def pem(rng: Random, label: str, size: int, width: int = 64) -> Minted:
    """A private key: DER of a believable start, the right length, folded as the tools fold it."""
    if label.startswith("OPENSSH"):
        raw = b"openssh-key-v1\0" + b"\0\0\0\x04none" * 2 + rng.randbytes(size)
    else:
        raw = b"\x30\x82" + size.to_bytes(2, "big") + b"\x02\x01\x00" + rng.randbytes(size)
    text = b64(raw)
    body = "\n".join(text[at : at + width] for at in range(0, len(text), width))
    return Minted(f"-----BEGIN {label}-----\n{body}\n-----END {label}-----", (body,))


def pgp(rng: Random) -> Minted:
    text = b64(b"\x95\x01" + rng.randbytes(420))
    body = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    label, check = "PGP PRIVATE KEY BLOCK", b64(rng.randbytes(3))
    return Minted(f"-----BEGIN {label}-----\n\n{body}\n={check}\n-----END {label}-----", (body,))


def service_account(rng: Random) -> Minted:
    key = pem(rng, "PRIVATE KEY", 1190)
    project = f"{rng.choice(APPS)}-{rng.randint(1000, 9999)}"
    account = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": some(rng, HEX, 40),
        "private_key": key.shown + "\n",
        "client_email": f"{rng.choice(APPS)}@{project}.iam.gserviceaccount.com",
        "client_id": some(rng, DIGITS, 21),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return Minted(json.dumps(account, indent=2), (key.secrets[0].replace("\n", "\\n"),))


def password(rng: Random) -> str:
    """What a generator of passwords gives: 10 to 24 characters of at least three classes."""
    count = rng.randint(10, 24)
    parts = [rng.choice(LOWER), rng.choice(UPPER), rng.choice(DIGITS), *rng.choices(BASE62 + SYMBOLS, k=count - 3)]
    rng.shuffle(parts)
    text = "".join(parts)
    return text if text[0] in BASE62 and text[-1] in BASE62 else rng.choice(UPPER) + text + rng.choice(DIGITS)


def plain_password(rng: Random) -> str:
    return rng.choice(LOWER) + some(rng, BASE62, rng.randint(9, 21)) + rng.choice(DIGITS)


def human_password(rng: Random) -> str:
    """What a person makes up."""
    word = rng.choice(WORDS).capitalize()
    other = rng.choice(WORDS)
    return rng.choice(
        [
            f"{word}{other}{rng.randint(10, 9999)}!",
            f"{word}#{rng.randint(1960, 2030)}{other}",
            f"{word}_{other}{rng.randint(100, 999)}",
        ]
    )


def passphrase(rng: Random, between: str) -> str:
    return between.join(rng.sample(WORDS, rng.randint(4, 6)))


def host(rng: Random) -> str:
    zone = rng.choice(["svc.cluster.local", "internal.corp.net", "eu-west-1.rds.amazonaws.com", "prod.example.net"])
    return f"{rng.choice(APPS)}-{rng.randint(1, 40):02d}.{zone}"


def dsn(rng: Random, scheme: str, port: int) -> Minted:
    secret = plain_password(rng) if rng.random() < 0.6 else quote(password(rng), safe="")
    user = "" if scheme.startswith("redis") and rng.random() < 0.7 else rng.choice([*APPS, "app", "admin", "root"])
    place = f":{port}" if port and rng.random() < 0.7 else ""
    return Minted(f"{scheme}://{user}:{secret}@{host(rng)}{place}/{rng.choice(APPS)}", (secret,))


def go_dsn(rng: Random) -> Minted:
    secret = plain_password(rng)
    return Minted(f"{rng.choice(APPS)}:{secret}@tcp({host(rng)}:3306)/{rng.choice(APPS)}?parseTime=true", (secret,))


def credential_pair(rng: Random) -> Minted:
    """`user:password` in base64, as HTTP Basic and docker's config write it."""
    secret = password(rng)
    text = b64(f"{rng.choice(NAMES)}:{secret}".encode())
    return Minted(text, (text, secret))


def macaroon(rng: Random) -> Minted:
    """PyPI's: location pypi.org, an identifier, caveats, a signature."""
    ident = f"{some(rng, HEX, 8)}-{some(rng, HEX, 4)}-{some(rng, HEX, 4)}-{some(rng, HEX, 4)}-{some(rng, HEX, 12)}"
    raw = (
        b"\x02\x01\x08pypi.org\x02\x24"
        + ident.encode()
        + b"\x00\x02\x2c"
        + rng.randbytes(44)
        + b"\x00\x00\x06\x20"
        + rng.randbytes(32)
    )
    return whole("pypi-" + b64url(raw))


def crc16(raw: bytes) -> int:
    crc = 0
    for byte in raw:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


def nkey_seed(rng: Random) -> str:
    """NATS: two prefix bytes, 32 bytes of seed, CRC16 little endian, base 32."""
    public = rng.choice([20 << 3, 0, 14 << 3])  # user, account, operator
    raw = bytes([(18 << 3) | (public >> 5), (public & 31) << 3]) + rng.randbytes(32)
    return base64.b32encode(raw + crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


def nats_creds(rng: Random) -> Minted:
    seed, token = nkey_seed(rng), jwt(rng)
    shown = (
        f"-----BEGIN NATS USER JWT-----\n{token.shown}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------"
    )
    return Minted(shown, (seed, *token.secrets))


def age_key(rng: Random) -> Minted:
    """Bech32 with its checksum, in capitals."""
    bits = int.from_bytes(rng.randbytes(32), "big") << 4
    data = [(bits >> shift) & 31 for shift in range(255, -1, -5)]
    prefix = "age-secret-key-"
    check = _polymod([*_expanded(prefix), *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [(check >> 5 * (5 - at)) & 31 for at in range(6)]
    return whole((prefix + "1" + "".join(BECH32[v] for v in data)).upper())


def bech32_holds(text: str) -> bool:
    prefix, _, data = text.rpartition("1")
    return _polymod([*_expanded(prefix), *map(BECH32.index, data)]) == 1


def _expanded(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for at, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> at) & 1 else 0
    return check


def wireguard(rng: Random) -> str:
    raw = bytearray(rng.randbytes(32))
    raw[0] &= 248
    raw[31] = (raw[31] & 127) | 64
    return b64(bytes(raw))


def atlassian(rng: Random) -> Minted:
    """ATATT3xFfGF0, a body, `=`, eight hex digits of CRC32: 192 characters."""
    body = "ATATT3xFfGF0" + some(rng, URLSAFE, 171)
    return whole(f"{body}={binascii.crc32(body.encode()):08X}")


def sas(rng: Random) -> Minted:
    """An Azure shared access signature's `sig`."""
    signature = quote(b64(rng.randbytes(32)), safe="")
    place = f"https://{rng.choice(APPS)}store.blob.core.windows.net/{rng.choice(APPS)}/report.csv"
    return Minted(
        f"{place}?sv=2024-11-04&st=2026-09-01T00%3A00%3A00Z&se=2027-01-01T00%3A00%3A00Z&sr=b&sp=r&sig={signature}",
        (signature,),
    )


def sha512_crypt(rng: Random) -> Minted:
    text = some(rng, BASE62 + "./", 86)
    return Minted(f"$6${some(rng, BASE62, 16)}${text}", (text,))


def uuid4(rng: Random) -> str:
    raw = bytearray(rng.randbytes(16))
    raw[6] = raw[6] & 15 | 64
    raw[8] = raw[8] & 63 | 128
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def sentry_org(rng: Random) -> str:
    claims = {
        "iat": rng.randint(1_700_000_000, 1_790_000_000) + 0.5,
        "url": "https://sentry.io",
        "region_url": "https://de.sentry.io",
        "org": rng.choice(APPS),
    }
    return f"sntrys_{b64(json.dumps(claims, separators=(',', ':')).encode())}_{some(rng, BASE64, 43)}"


def fernet(rng: Random) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(rng.randbytes(16)).digest()).decode()
