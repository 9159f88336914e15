"""The kinds of secret that are planted, by class: typed, generic, known, pii.

Formats are those of the issuers' documents and of public rule sets. A `token` speaks for itself anywhere, a `keyed`
value is known by its key, a `dsn` is an address with a secret in it, a `block` has several lines, and a `line` has
sentences of its own in `planted_sentences.txt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.support import planted_mint as mint
from tests.support.planted_mint import BASE32, BASE62, BASE64, DIGITS, HEX, LOWER, UPPER, URLSAFE, Minted, some, whole

Group = Literal["typed", "generic", "known", "pii"]
Form = Literal["token", "keyed", "dsn", "block", "line", "bare"]
Maker = Callable[[Random], Minted]
_TokenPart = str | tuple[str, int]


@dataclass(frozen=True)
class Kind:
    name: str
    group: Group
    form: Form
    make: Maker
    keys: tuple[str, ...] = ()
    needs_whole: bool = False
    """It is given away only when all of it can be read: for names and addresses, whose parts are ordinary text."""


def _typed(name: str, form: Form, keys: str, make: Callable[[Random], Minted | str]) -> Kind:
    return Kind(name, "typed", form, _minted(make), tuple(keys.split()))


def _minted(make: Callable[[Random], Minted | str]) -> Maker:
    def minted(rng: Random) -> Minted:
        made = make(rng)
        return whole(made) if isinstance(made, str) else made

    return minted


def _spelt(*parts: _TokenPart) -> Callable[[Random], str]:
    """Fixed text and (alphabet, count), in order."""
    return lambda rng: "".join(part if isinstance(part, str) else some(rng, *part) for part in parts)


def _token(name: str, keys: str, *parts: _TokenPart) -> Kind:
    return _typed(name, "token", keys, _spelt(*parts))


def _keyed(name: str, keys: str, *parts: _TokenPart) -> Kind:
    return _typed(name, "keyed", keys, _spelt(*parts))


def _url(before: str, *parts: _TokenPart) -> Maker:
    """An address whose last part is the secret."""

    def make(rng: Random) -> Minted:
        secret = _spelt(*parts)(rng)
        return Minted(before + secret, (secret,))

    return make


def _any(*makers: Callable[[Random], Minted | str]) -> Callable[[Random], Minted | str]:
    return lambda rng: rng.choice(makers)(rng)


def _dsn(scheme: str, port: int) -> Kind:
    return _typed(
        f"dsn_{scheme.replace('+', '_')}",
        "dsn",
        "DATABASE_URL BROKER_URL SERVICE_URL",
        lambda rng: mint.dsn(rng, scheme, port),
    )


def _pem(name: str, label: str, *sizes: int, width: int = 64) -> Kind:
    return _typed(name, "block", "PRIVATE_KEY TLS_KEY", lambda rng: mint.pem(rng, label, rng.choice(sizes), width))


_github = _any(
    *(lambda rng, p=p: mint.with_crc(p, some(rng, BASE62, 30)) for p in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"))
)  # type: ignore[misc]
_gitlab = _any(
    *(_spelt(p, (URLSAFE, 20)) for p in ("glpat-", "gldt-", "glrt-", "GR1348941")),
    _spelt("glpat-", (URLSAFE, 27), ".", ("01", 2), (DIGITS + LOWER, 7)),
)
_slack = _any(
    _spelt("xoxb-", (DIGITS, 12), "-", (DIGITS, 13), "-", (BASE62, 24)),
    _spelt("xoxp-", (DIGITS, 12), "-", (DIGITS, 12), "-", (DIGITS, 13), "-", (HEX, 32)),
    _spelt("xapp-1-A", (UPPER + DIGITS, 10), "-", (DIGITS, 13), "-", (HEX, 64)),
)
_openai = _any(
    _spelt("sk-", (BASE62, 20), "T3BlbkFJ", (BASE62, 20)),
    _spelt("sk-proj-", (URLSAFE, 74), "T3BlbkFJ", (URLSAFE, 74)),
    _spelt("sk-svcacct-", (URLSAFE, 58), "T3BlbkFJ", (URLSAFE, 58)),
)
_anthropic = _any(*(_spelt(f"sk-ant-{p}-", (URLSAFE, 93), "AA") for p in ("api03", "admin01", "oat01")))
_google_oauth = _any(_spelt("GOCSPX-", (URLSAFE, 28)), _spelt("ya29.a0", (URLSAFE, 180)), _spelt("1//0", (URLSAFE, 60)))
_vault = _any(_spelt("hvs.", (URLSAFE, 95)), _spelt("hvb.", (URLSAFE, 150)), _spelt("s.", (BASE62, 24)))


def _discord(rng: Random) -> str:
    return f"{mint.b64url(str(rng.randint(10**17, 10**18)).encode())}.{some(rng, URLSAFE, 6)}.{some(rng, URLSAFE, 38)}"


def _kubernetes_value(rng: Random) -> Minted:
    secret = mint.password(rng)
    return Minted(mint.b64(secret.encode()), (mint.b64(secret.encode()), secret))


TYPED: tuple[Kind, ...] = (
    _typed("github_token", "token", "GITHUB_TOKEN GH_TOKEN", _github),
    _token("github_fine_grained", "GITHUB_TOKEN GH_PAT", "github_pat_", (BASE62, 22), "_", (BASE62, 59)),
    _typed("gitlab_token", "token", "GITLAB_TOKEN RUNNER_TOKEN", _gitlab),
    _token("bitbucket_token", "BITBUCKET_TOKEN", "ATBB", (BASE62, 24), (HEX.upper()[:16], 8)),
    _token("aws_key_id", "AWS_ACCESS_KEY_ID", "AKIA", (BASE32, 16)),
    _keyed("aws_secret_key", "AWS_SECRET_ACCESS_KEY AWS_SECRET_KEY", (BASE64, 40)),
    _keyed("aws_session_token", "AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjE", (BASE64, 343)),
    _token("aws_bedrock_key", "AWS_BEARER_TOKEN_BEDROCK", "ABSK", (BASE64, 128)),
    _typed("slack_token", "token", "SLACK_BOT_TOKEN SLACK_TOKEN", _slack),
    _typed(
        "slack_webhook",
        "dsn",
        "SLACK_WEBHOOK_URL",
        _url("https://hooks.slack.com/services/T04QX81LM/B07RK2ZZP/", (BASE62, 24)),
    ),
    _typed("discord_token", "token", "DISCORD_TOKEN BOT_TOKEN", _discord),
    _typed(
        "discord_webhook",
        "dsn",
        "DISCORD_WEBHOOK",
        _url("https://discord.com/api/webhooks/1187423345566778899/", (URLSAFE, 68)),
    ),
    _token("telegram_token", "TELEGRAM_BOT_TOKEN", (DIGITS[1:], 10), ":AA", (URLSAFE, 33)),
    _typed(
        "stripe_key",
        "token",
        "STRIPE_SECRET_KEY",
        _any(_spelt("sk_live_51", (BASE62, 97)), _spelt("rk_live_", (BASE62, 24))),
    ),
    _token("stripe_webhook", "STRIPE_WEBHOOK_SECRET", "whsec_", (BASE62, 32)),
    _typed("jwt", "token", "SESSION_JWT ID_TOKEN", mint.jwt),
    _pem("pem_rsa", "RSA PRIVATE KEY", 1187, 2345),
    _pem("pem_pkcs8", "PRIVATE KEY", 1214, 134),
    _pem("pem_ec", "EC PRIVATE KEY", 117),
    _pem("pem_openssh", "OPENSSH PRIVATE KEY", 232, 1800, width=70),
    _pem("pem_encrypted", "ENCRYPTED PRIVATE KEY", 1322),
    _typed("pgp_private", "block", "SIGNING_KEY", mint.pgp),
    _typed("gcp_service_account", "block", "GOOGLE_CREDENTIALS", mint.service_account),
    _token("gcp_api_key", "GOOGLE_API_KEY", "AIzaSy", (URLSAFE, 33)),
    _typed("google_oauth", "token", "GOOGLE_CLIENT_SECRET GOOGLE_REFRESH_TOKEN", _google_oauth),
    *(_dsn(s, p) for s, p in (("postgres", 5432), ("postgresql+asyncpg", 5432), ("mysql", 3306), ("mongodb", 27017))),
    *(_dsn(s, p) for s, p in (("mongodb+srv", 0), ("redis", 6379), ("amqps", 5671), ("mssql", 1433))),
    *(_dsn(s, p) for s, p in (("clickhouse", 9000), ("nats", 4222), ("https", 443), ("smtp", 587))),
    _typed("dsn_go", "dsn", "DATABASE_URL", mint.go_dsn),
    _typed("dsn_sentry", "dsn", "SENTRY_DSN", lambda rng: _sentry_dsn(rng)),
    _typed("azure_storage_key", "dsn", "AZURE_STORAGE_CONNECTION_STRING", lambda rng: _azure_storage(rng)),
    _typed("azure_sas", "dsn", "REPORT_URL", mint.sas),
    _token("azure_client_secret", "AZURE_CLIENT_SECRET", (BASE62, 3), "8Q~", (BASE62 + "_.~-", 34)),
    _keyed("azure_devops_pat", "AZURE_DEVOPS_EXT_PAT", (LOWER + "234567", 52)),
    _typed("npm_token", "token", "NPM_TOKEN NODE_AUTH_TOKEN", lambda rng: mint.with_crc("npm_", some(rng, BASE62, 30))),
    _typed("npmrc", "line", "", _any(_spelt((BASE64, 46), "=="), mint.uuid4)),
    _typed("pypi_token", "token", "PYPI_TOKEN TWINE_PASSWORD", mint.macaroon),
    _token("rubygems_key", "GEM_HOST_API_KEY", "rubygems_", (HEX, 48)),
    _token("crates_token", "CARGO_REGISTRY_TOKEN", "cio", (BASE62, 32)),
    _typed("anthropic_key", "token", "ANTHROPIC_API_KEY", _anthropic),
    _typed("openai_key", "token", "OPENAI_API_KEY", _openai),
    _token("huggingface_token", "HF_TOKEN HUGGING_FACE_HUB_TOKEN", "hf_", (LOWER + UPPER, 34)),
    _token("groq_key", "GROQ_API_KEY", "gsk_", (BASE62, 52)),
    _token("openrouter_key", "OPENROUTER_API_KEY", "sk-or-v1-", (HEX, 64)),
    _token("replicate_token", "REPLICATE_API_TOKEN", "r8_", (BASE62, 37)),
    _token("perplexity_key", "PERPLEXITY_API_KEY", "pplx-", (BASE62, 48)),
    _keyed("mistral_key", "MISTRAL_API_KEY", (BASE62, 32)),
    _keyed("twilio_auth_token", "TWILIO_AUTH_TOKEN", (HEX, 32)),
    _token("twilio_api_key", "TWILIO_API_KEY", "SK", (HEX, 32)),
    _token("sendgrid_key", "SENDGRID_API_KEY", "SG.", (URLSAFE, 22), ".", (URLSAFE, 43)),
    _typed(
        "mailgun_key",
        "keyed",
        "MAILGUN_API_KEY",
        _any(_spelt("key-", (HEX, 32)), _spelt((HEX, 32), "-", (HEX, 8), "-", (HEX, 8))),
    ),
    _token("mailchimp_key", "MAILCHIMP_API_KEY", (HEX, 32), "-us", ("123456789", 1)),
    _typed(
        "shopify_token", "token", "SHOPIFY_TOKEN", _any(*(_spelt(p, (HEX, 32)) for p in ("shpat_", "shpss_", "shpca_")))
    ),
    _typed(
        "digitalocean_token",
        "token",
        "DIGITALOCEAN_TOKEN",
        _any(*(_spelt(p, (HEX, 64)) for p in ("dop_v1_", "doo_v1_"))),
    ),
    _keyed("heroku_uuid", "HEROKU_API_KEY", (HEX, 8), "-", (HEX, 4), "-4", (HEX, 3), "-a", (HEX, 3), "-", (HEX, 12)),
    _token("heroku_token", "HEROKU_API_KEY", "HRKU-AA", (URLSAFE, 58)),
    _keyed("cloudflare_token", "CLOUDFLARE_API_TOKEN CF_API_TOKEN", (URLSAFE, 40)),
    _keyed("cloudflare_global_key", "CLOUDFLARE_API_KEY", (HEX, 37)),
    _keyed("datadog_key", "DD_API_KEY DATADOG_API_KEY", (HEX, 32)),
    _keyed("datadog_app_key", "DD_APP_KEY DATADOG_APP_KEY", (HEX, 40)),
    _typed("vault_token", "keyed", "VAULT_TOKEN", _vault),
    _token("terraform_token", "TF_TOKEN_app_terraform_io TFE_TOKEN", (BASE62, 14), ".atlasv1.", (BASE62, 67)),
    _token("linear_key", "LINEAR_API_KEY", "lin_api_", (BASE62, 40)),
    _typed(
        "notion_token",
        "token",
        "NOTION_TOKEN",
        _any(_spelt("ntn_", (DIGITS, 11), (BASE62, 35)), _spelt("secret_", (BASE62, 43))),
    ),
    _typed("atlassian_token", "token", "JIRA_API_TOKEN ATLASSIAN_TOKEN", mint.atlassian),
    _token("figma_token", "FIGMA_TOKEN", "figd_", (URLSAFE, 40)),
    _token("docker_pat", "DOCKER_TOKEN DOCKERHUB_TOKEN", "dckr_pat_", (URLSAFE, 27)),
    _typed("docker_auth", "line", "", mint.credential_pair),
    _typed("nats_seed", "token", "NATS_SEED", mint.nkey_seed),
    _typed("nats_creds", "block", "NATS_CREDS", mint.nats_creds),
    _typed("age_key", "token", "SOPS_AGE_KEY", mint.age_key),
    _typed("wireguard_key", "line", "", mint.wireguard),
    _token("grafana_token", "GRAFANA_TOKEN", "glsa_", (BASE62, 32), "_", (HEX, 8)),
    _token("newrelic_key", "NEW_RELIC_API_KEY", "NRAK-", (UPPER + DIGITS, 27)),
    _typed("sentry_token", "token", "SENTRY_AUTH_TOKEN", mint.sentry_org),
    _token("supabase_token", "SUPABASE_ACCESS_TOKEN", "sbp_", (HEX, 40)),
    _token("databricks_token", "DATABRICKS_TOKEN", "dapi", (HEX, 32)),
    _token("planetscale_token", "PLANETSCALE_TOKEN", "pscale_tkn_", (URLSAFE, 43)),
    _token("doppler_token", "DOPPLER_TOKEN", "dp.pt.", (BASE62, 43)),
    _token("fly_token", "FLY_API_TOKEN", "fm2_", (BASE64, 180)),
    _token("postman_key", "POSTMAN_API_KEY", "PMAK-", (HEX, 24), "-", (HEX, 34)),
    _token("pulumi_token", "PULUMI_ACCESS_TOKEN", "pul-", (HEX, 40)),
    _token("airtable_token", "AIRTABLE_TOKEN", "pat", (BASE62, 14), ".", (HEX, 64)),
    _token("artifactory_key", "ARTIFACTORY_API_KEY", "AKCp", (BASE62, 69)),
    _token("sonar_token", "SONAR_TOKEN", "squ_", (HEX, 40)),
    _token("square_token", "SQUARE_ACCESS_TOKEN", "EAAA", (URLSAFE, 60)),
    _token("tailscale_key", "TS_AUTHKEY", "tskey-auth-k", (BASE62, 11), "CNTRL-", (BASE62, 32)),
    _token("brevo_key", "BREVO_API_KEY", "xkeysib-", (HEX, 64), "-", (BASE62, 16)),
    _token("onepassword_token", "OP_SERVICE_ACCOUNT_TOKEN", "ops_eyJ", (BASE62, 300)),
    _keyed("wandb_key", "WANDB_API_KEY", (HEX, 40)),
    _keyed("okta_token", "OKTA_API_TOKEN", "00", (URLSAFE, 40)),
    _typed("basic_auth", "line", "", mint.credential_pair),
    _typed("bearer", "line", "", _spelt((URLSAFE, 43))),
    _typed("cookie", "line", "", _any(_spelt((DIGITS + LOWER, 32)), _spelt("s%3A", (URLSAFE, 32), ".", (BASE62, 43)))),
    _typed("netrc", "line", "", mint.password),
    _typed("pgpass", "line", "", mint.plain_password),
    _typed("curl_user", "line", "", mint.password),
    _typed("mysql_flag", "line", "", mint.plain_password),
    _typed("sshpass", "line", "", mint.password),
    _typed("shadow_hash", "line", "", mint.sha512_crypt),
    _typed("kubernetes_data", "line", "", _kubernetes_value),
)


def _sentry_dsn(rng: Random) -> Minted:
    secret = some(rng, HEX, 32)
    return Minted(
        f"https://{secret}@o{rng.randint(10**5, 10**6)}.ingest.de.sentry.io/{rng.randint(10**6, 10**7)}", (secret,)
    )


def _azure_storage(rng: Random) -> Minted:
    secret = mint.b64(rng.randbytes(64))
    account = f"{rng.choice(mint.APPS)}store"
    shown = f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={secret};EndpointSuffix=core.windows.net"
    return Minted(shown, (secret,))


_PASSWORDS = [
    "DB_PASSWORD",
    "POSTGRES_PASSWORD",
    "SMTP_PASS",
    "ADMIN_PASSWORD",
    "REDIS_PASSWORD",
    "KEYSTORE_PASSWORD",
    "LDAP_BIND_PW",
]
_SECRETS = [
    "SECRET_KEY",
    "SESSION_SECRET",
    "ENCRYPTION_KEY",
    "API_KEY",
    "CLIENT_SECRET",
    "ACCESS_TOKEN",
    "WEBHOOK_SECRET",
    "JWT_SIGNING_KEY",
]


def _generic(name: str, form: Form, keys: list[str], make: Callable[[Random], str]) -> Kind:
    return Kind(name, "generic", form, _minted(make), tuple(keys))


GENERIC: tuple[Kind, ...] = (
    _generic("password", "keyed", _PASSWORDS, mint.password),
    _generic("password_human", "keyed", _PASSWORDS, mint.human_password),
    _generic(
        "passphrase",
        "keyed",
        ["PASSPHRASE", "SSH_PASSPHRASE", "GPG_PASSPHRASE"],
        lambda rng: mint.passphrase(rng, rng.choice("-._")),
    ),
    _generic("passphrase_words", "line", [], lambda rng: mint.passphrase(rng, " ")),
    _generic("hex_key", "keyed", _SECRETS, lambda rng: some(rng, HEX, rng.choice([16, 32, 40, 48, 64]))),
    _generic("base64_key", "keyed", _SECRETS, lambda rng: mint.b64(rng.randbytes(rng.choice([16, 24, 32, 48])))),
    _generic("alnum_token", "keyed", _SECRETS, lambda rng: some(rng, BASE62, rng.randint(16, 64))),
    _generic("fernet_key", "keyed", ["FERNET_KEY", "AIRFLOW_SECRET_KEY"], mint.fernet),
    _generic("uuid_key", "keyed", ["API_KEY", "CLIENT_SECRET", "SERVICE_TOKEN"], mint.uuid4),
    _generic("password_told", "line", [], mint.password),
    _generic("password_flag", "line", [], mint.password),
    _generic("connection_string", "line", [], mint.plain_password),
    _generic("xml_password", "line", [], mint.plain_password),
    _generic("url_parameter", "line", [], lambda rng: some(rng, BASE62, rng.randint(20, 40))),
    _generic("header_key", "line", [], lambda rng: some(rng, URLSAFE, rng.randint(24, 48))),
)

USERS = ("ihalvorsen", "obrandt7", "tkuroda")
HOSTS = ("helsing-build-03", "vault7.harborlight.lan", "skarn")
HOME = "/srv/halvorsen/town"
KNOWN_VALUES = {
    "HARBOR_DB_PASSWORD": "vK8t#Tz2m!qLw9",
    "RELAY_SHARED": "plum anvil seventeen kestrel",
    "COURIER_TOKEN": "c7Rk0PzQy41LmWnE8aVbT2xJ",
    "LEDGER_SIGNING": "9f31c6a7de0b4482b1c5e07f6a2d93b8",
    "GATEWAY_ID": "5b0c2a77-9d1e-4c7f-8a35-e2f4916b0d8c",
    "MAILER_PASS": "Tr4wler&Net",
    "BACKUP_URL": "https://backup:Wq7xN2vbK9@store.harborlight.lan/daily",
    "INDEXER_KEY": "bJx+4/Zk9Qw2mTfLr7Yd8A==",
}
KNOWN = tuple(
    Kind(f"known_{name.lower()}", "known", "bare", lambda rng, value=value: whole(value))
    for name, value in KNOWN_VALUES.items()
)  # type: ignore[misc]

_FIRST = ["anneli", "bogdan", "chiara", "desmond", "eszter", "fintan", "greta", "hamza", "iryna", "joaquin"]
_LAST = [
    "korhonen",
    "petrescu",
    "valentini",
    "okafor",
    "szabo",
    "gallagher",
    "lindqvist",
    "rahimi",
    "bondarenko",
    "figueroa",
]
_DOMAINS = ["korhonen-shipping.fi", "gmail.com", "petrescu.ro", "northquay.io", "outlook.com", "szabo-partners.hu"]


def _email(rng: Random) -> Minted:
    number = rng.choice(["", str(rng.randint(1, 99))])
    local = f"{rng.choice(_FIRST)}{rng.choice(['.', '_', ''])}{rng.choice(_LAST)}{number}"
    return Minted(f"{local}@{rng.choice(_DOMAINS)}", (local,))


def _ipv4(rng: Random) -> str:
    first = rng.choice([10, 51, 84, 93, 116, 134, 178, 188, 203])
    return f"{first}.{rng.randint(16, 254)}.{rng.randint(16, 254)}.{rng.randint(2, 254)}"


def _ipv6(rng: Random) -> str:
    def group() -> str:
        return f"{rng.randint(0x100, 0xFFFF):x}"

    return rng.choice(
        [
            f"2a01:4f8:{group()}:{group()}::{rng.randint(1, 99)}",
            "2001:" + ":".join(group() for _ in range(7)),
            f"fe80::{group()}:{group()}:{group()}:{group()}",
        ]
    )


def _home(rng: Random) -> Minted:
    user = f"{rng.choice(_FIRST)}{rng.choice(_LAST)[:2]}{rng.randint(1, 99)}"
    folder = rng.choice([f"/home/{user}", f"/Users/{user}", HOME])
    return Minted(f"{folder}/src/{rng.choice(mint.APPS)}", (folder,))


def _phone(rng: Random) -> str:
    def digits(count: int) -> str:
        return str(rng.randint(2, 9)) + "".join(rng.choices(DIGITS, k=count - 1))

    return rng.choice(
        [
            f"+49 30 {digits(8)}",
            f"+1 ({digits(3)}) {digits(3)}-{digits(4)}",
            f"+44{digits(10)}",
            f"({digits(3)}) {digits(3)}-{digits(4)}",
            f"+33 6 {digits(2)} {digits(2)} {digits(2)} {digits(2)}",
        ]
    )


def _pii(name: str, make: Callable[[Random], Minted | str]) -> Kind:
    return Kind(name, "pii", "line", _minted(make), needs_whole=True)


PII: tuple[Kind, ...] = (
    _pii("email", _email),
    _pii("ipv4", _ipv4),
    _pii("ipv6", _ipv6),
    _pii("home_path", _home),
    _pii("user_name", lambda rng: rng.choice(USERS)),
    _pii("host_name", lambda rng: rng.choice(HOSTS)),
    _pii("phone", _phone),
)


def kinds() -> Iterator[Kind]:
    yield from (*TYPED, *GENERIC, *KNOWN, *PII)
