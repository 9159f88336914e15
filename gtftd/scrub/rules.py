"""What secrets look like when they have a shape of their own: one rule a kind, each behind a literal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Rule:
    """Replace what `pattern` finds, or its group `secret`; looked for only where a literal stands in the text.

    Patterns begin with the literal and only run on, so that a hostile text costs no more than a plain one.
    """

    kind: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(kind: str, literals: str, pattern: str) -> Rule:
    return Rule(kind, tuple(literals.split()), re.compile(pattern))


RULES: tuple[Rule, ...] = (
    _rule("ANTHROPIC_KEY", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{10,}"),
    _rule("OPENAI_KEY", "sk-proj- sk-svcacct- sk-admin-", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{10,}"),
    _rule("OPENROUTER_KEY", "sk-or-", r"sk-or-[A-Za-z0-9_-]{10,}"),
    _rule("API_KEY", "sk-", r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"),
    _rule("STRIPE_KEY", "sk_ rk_ pk_ whsec_", r"(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{10,}"),
    _rule("GITHUB_TOKEN", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9_]{16,}"),
    _rule("GITHUB_TOKEN", "github_pat_", r"github_pat_[A-Za-z0-9_]{16,}"),
    _rule(
        "GITLAB_TOKEN",
        "glpat- gldt- glft- glsoat- glrt- glcbt- glimt- glptt- glagent- gloas-",
        r"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[A-Za-z0-9_.-]{16,}",
    ),
    _rule("SLACK_TOKEN", "xox xapp-", r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{8,}"),
    _rule("SLACK_WEBHOOK", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9_/-]+"),
    _rule("DISCORD_WEBHOOK", "/api/webhooks/", r"/api/webhooks/\d+/[A-Za-z0-9_-]+"),
    _rule("AWS_KEY_ID", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"),
    _rule("GOOGLE_KEY", "AIza", r"AIza[A-Za-z0-9_-]{30,}"),
    _rule("GOOGLE_TOKEN", "ya29. GOCSPX-", r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{16,}"),
    _rule("HF_TOKEN", "hf_", r"hf_[A-Za-z0-9]{20,}"),
    _rule("NPM_TOKEN", "npm_", r"npm_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,}"),
    _rule("NPM_TOKEN", "_authToken", r"_authToken\s{0,3}=\s{0,3}(?P<secret>[^\s\"']{8,})"),
    _rule("PYPI_TOKEN", "pypi-", r"pypi-[A-Za-z0-9_-]{40,}"),
    _rule("DIGITALOCEAN_TOKEN", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{16,}"),
    _rule("SENDGRID_KEY", "SG.", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    _rule("SQUARE_TOKEN", "sq0", r"sq0[a-z]{3}-[A-Za-z0-9_-]{16,}"),
    _rule("GROQ_KEY", "gsk_", r"gsk_[A-Za-z0-9]{20,}"),
    _rule("XAI_KEY", "xai-", r"xai-[A-Za-z0-9]{20,}"),
    _rule("DATABRICKS_TOKEN", "dapi", r"dapi[a-f0-9]{32}"),
    _rule("SHOPIFY_TOKEN", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}"),
    _rule("LINEAR_KEY", "lin_api_", r"lin_api_[A-Za-z0-9]{16,}"),
    _rule("VAULT_TOKEN", "hvs. hvb.", r"hv[sb]\.[A-Za-z0-9_-]{16,}"),
    _rule("DOCKER_TOKEN", "dckr_pat_", r"dckr_pat_[A-Za-z0-9_-]{16,}"),
    _rule("AGE_KEY", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-[0-9A-Z]{20,}"),
    _rule("JWT", "eyJ", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{4,}){1,4}"),
    _rule("AZURE_KEY", "AccountKey=", r"AccountKey=(?P<secret>[A-Za-z0-9+/=]{20,})"),
    _rule("TELEGRAM_TOKEN", ":AA", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{33}"),
    _rule("BEARER", "earer EARER", r"(?:[Bb]earer|BEARER)\s{1,3}(?P<secret>(?![a-z]+\b)[A-Za-z0-9._~+/=-]{8,})"),
    _rule(
        "AUTHORIZATION",
        "uthorization UTHORIZATION",
        r"(?:[Aa]uthorization|AUTHORIZATION)\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?"
        r"(?:[Bb]asic|[Tt]oken|[Bb]earer|[Dd]igest|ApiKey)\s{1,3}(?P<secret>[^\s\"'\\<$][^\s\"'\\<]{3,})",
    ),
    _rule(
        "PASSWORD",
        "://",
        r"://[^\s:/@\"'<>`]{0,128}:(?P<secret>(?!\d{1,5}/)[^\s/\"'<>`]{1,256})@(?=[\w\[.-])",
    ),
    _rule("TOKEN", "://", r"://(?P<secret>(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{16,256})@(?=[\w\[.-])"),
    _rule(
        "PASSWORD",
        "machine",
        r"machine\s{1,4}\S{1,128}\s{1,4}login\s{1,4}\S{1,128}\s{1,4}password\s{1,4}(?P<secret>\S{1,256})",
    ),
    _rule("PASSWORD", "sshpass", r"sshpass\s{1,3}-p\s{0,3}(?P<secret>[^\s<]{1,256})"),
    _rule(
        "PASSWORD",
        "mysql mariadb",
        r"(?:mysql|mariadb)[a-z_-]{0,12}\s[^\n|;&]{0,120}?\s?-p(?P<secret>[^\s<'\"$-][^\s<]{2,128})",
    ),
    _rule(
        "PASSWORD",
        "curl",
        r"curl\s[^\n|;&]{0,200}?(?:-u|--user)[ =]{0,2}[\"']?[^\s:\"'<]{1,64}:(?P<secret>[^\s\"'<$]{1,128})",
    ),
)


def matching(text: str) -> Iterator[Rule]:
    """The rules whose literal stands in this text: for most texts none."""
    for rule in RULES:
        if any(literal in text for literal in rule.literals):
            yield rule
    for rule in borrowed():
        if any(literal in text for literal in rule.literals):
            yield rule


_BORROWED = {
    "aws": ("AWSKeyDetector", "AWS_KEY_ID", "A3T AKIA ASIA"),
    "azure_storage_key": ("AzureStorageKeyDetector", "AZURE_KEY", "AccountKey="),
    "gitlab_token": ("GitLabTokenDetector", "GITLAB_TOKEN", "GR1348941 glpat- glcbt-"),
    "pypi_token": ("PypiTokenDetector", "PYPI_TOKEN", "pypi-Ag"),
    "sendgrid": ("SendGridDetector", "SENDGRID_KEY", "SG."),
    "slack": ("SlackDetector", "SLACK_TOKEN", "xox hooks.slack.com"),
    "square_oauth": ("SquareOAuthDetector", "SQUARE_TOKEN", "sq0csp-"),
    "stripe": ("StripeDetector", "STRIPE_KEY", "k_live_"),
    "twilio": ("TwilioKeyDetector", "TWILIO_KEY", "AC SK"),
}
"""Plugins of detect-secrets whose patterns are linear and have a literal. Its scanners take milliseconds a
line, and its other patterns match what the entropy rule or the assignments catch already."""


@cache
def borrowed() -> tuple[Rule, ...]:
    """The deny-list patterns of detect-secrets' plugins; imported at the first text, not at start."""
    from importlib import import_module

    rules: list[Rule] = []
    for module, (name, kind, literals) in _BORROWED.items():
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        for pattern in plugin.denylist:
            if ".{0,20}" not in pattern.pattern:
                rules.append(Rule(kind, tuple(literals.split()), pattern))
    return tuple(rules)
