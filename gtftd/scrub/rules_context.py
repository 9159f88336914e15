"""Secrets that their surroundings mark: headers, connection strings, flags of commands, key files, seeds."""

# ruff: noqa: E501  (a table of patterns: one a line)
from __future__ import annotations

import re

from gtftd.scrub.rules import Rule, not_dull

_STAND_IN = re.compile(
    r"[$<{%*\0@\\(?]|\[|your|my[-_]|xxx|\.\.\.|…|example|0123456789|(?:my)?(?:null|none|true|false|undefined|password|passwd|pass|secret|token|pwd|user|pw"
    r"|options?|sample|guest|foo|bar|baz|xyz|abc|test|123)\d?\Z",
    re.IGNORECASE,
)


def not_stand_in(value: str) -> bool:
    """Neither a variable nor a word that stands for a secret."""
    return len(set(value)) > 1 and _STAND_IN.match(value) is None


def looks_given(value: str) -> bool:
    """The same, and not a plain word of a sentence."""
    return not_stand_in(value) and not (value.isalpha() and (value.islower() or value.istitle()))


def _rule(
    name: str,
    kind: str,
    source: str,
    *,
    check: object = not_stand_in,
    probe: str = "",
    size: int = 0,
    back: int = 0,
    near: str = "",
) -> Rule:
    return Rule(name, kind, source, check=check, probe=probe, size=size, back=back, near=tuple(near.split()))  # type: ignore[arg-type]


def _is_basic(value: str) -> bool:
    """Base64 of `user:password`."""
    import base64
    import binascii

    try:
        said = base64.b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        return False
    return b":" in said and all(32 <= sign < 127 or sign > 160 for sign in said)


def _is_uuid(value: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value) is not None


def _is_passwordish(value: str) -> bool:
    """Not a port, a path, a name of words or a mapping."""
    if value[0] in "/.~" or ":" in value or "=" in value:
        return False
    return (any(sign.isdigit() for sign in value) and not value.isdigit()) or any(sign in "!@#%^&*?" for sign in value)


def _is_pgpass(value: str) -> bool:
    """No path, as in a list of users, and no time, address or rest of a literal."""
    if value[0] in "/~" or re.match(r"[0-9a-fA-F]{2,4}:", value):
        return False
    return looks_given(value) and re.match(r"[^\"']*[G-Zg-z]", value) is not None


def _luhn(value: str) -> bool:
    digits = [int(sign) for sign in value if sign.isdigit()]
    if not 15 <= len(digits) <= 16 or len(set(digits)) < 4:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(value: str) -> bool:
    bare = value.replace(" ", "")
    if not 15 <= len(bare) <= 34 or not any(sign.isdigit() for sign in bare[4:]):
        return False
    turned = "".join(str(int(sign, 36)) for sign in bare[4:] + bare[:4])
    return int(turned) % 97 == 1


_Q = r"[\"'`]?"
_HEADER = r"(?i:authorization|proxy-authorization|x-authorization)"

CONTEXT_RULES: tuple[Rule, ...] = (
    _rule(
        "header.authorization",
        "AUTHORIZATION",
        rf"{_HEADER}[\"']?\]?\s{{0,3}}[:=,]\s{{0,3}}{_Q}(?i:basic|token|bearer|digest|apikey|negotiate|key|splunk|bot|aws4-hmac-sha256)"
        r"\s{1,3}(?P<secret>[^\s\"'`<$\0][^\s\"'`<\0]{3,4000})",
    ),
    _rule(
        "header.authorization.bare",
        "AUTHORIZATION",
        rf"{_HEADER}[\"']?\]?\s{{0,3}}[:=]\s{{0,3}}{_Q}(?P<secret>[A-Za-z0-9+/=._~-]{{16,4000}})",
        check=lambda value: (
            not_dull(value) and any(map(str.isdigit, value)) and not re.fullmatch(r"[a-z_]\w*(?:\.[a-z_]\w*)+", value)
        ),
    ),
    _rule("bearer", "BEARER", r"(?:[Bb]earer|BEARER)\s{1,3}(?P<secret>(?![a-z]+\b)[A-Za-z0-9._~+/=-]{8,4000})"),
    _rule("bearer.word", "BEARER", r"(?:[Bb]earer|BEARER) {1,3}(?P<secret>[a-z]{16,200})(?![a-z])"),
    _rule(
        "basic",
        "AUTHORIZATION",
        r"(?<![A-Za-z])Basic\s(?P<secret>[A-Za-z0-9+/]{8,400}={0,2})(?![A-Za-z0-9+/])",
        check=_is_basic,
    ),
    _rule(
        "header.key",
        "API_KEY",
        r"(?i:x-api-key|x-auth-token|x-access-token|x-vault-token|x-gitlab-token|private-token|job-token|x-amz-security-token|x-csrf-token"
        r"|x-xsrf-token|x-goog-api-key|x-functions-key|ocp-apim-subscription-key|x-rapidapi-key|x-shopify-access-token|api-key|apikey"
        r"|x-figma-token|x-honeycomb-team|x-postmark-server-token|dd-api-key|dd-application-key|x-session-token|x-auth-key|x-subscription-token"
        r"|cf-access-client-secret|x-plex-token|x-token)[\"']?\]?\s{0,3}[:=,]\s{0,3}[\"'`]?(?P<secret>[^\s\"'`<$\0,;]{6,2000})",
        check=lambda value: looks_given(value) and not any(sign in value for sign in "(["),
    ),
    _rule(
        "cookie",
        "COOKIE",
        r"(?i:cookie)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:[A-Za-z0-9_.%-]{1,64}=[^;\s\"']{0,400};\s{0,2}){0,12}(?<![A-Za-z0-9_-])"
        r"(?i:[A-Za-z0-9_.-]{0,40}(?:sess|sid|auth|token|jwt|csrf|remember|user_session|secret)[A-Za-z0-9_.-]{0,40})=(?P<secret>[^;\s\"'<\0]{6,4000})",
    ),
    _rule(
        "session.id",
        "SESSION_ID",
        r"(?<![A-Za-z0-9])(?i:phpsessid|jsessionid|asp\.net_sessionid|connect\.sid|laravel_session|sessionid|_session|session_?id|user_session"
        r"|csrftoken|xsrf-token|remember_token|next-auth\.session-token|sid)=(?P<secret>[A-Za-z0-9%._~+/:-]{12,1000})",
        check=lambda value: looks_given(value) and not _is_uuid(value) and any(sign.isdigit() for sign in value),
    ),
    _rule(
        "url.password",
        "PASSWORD",
        r"[A-Za-z]://(?P<user>[^\s:/@\"'<>`\0]{0,128}):(?P<secret>(?!\d{1,5}/)[^\s/\"'<>`@\0]{1,256}(?:@[^\s/\"'<>`@\0]{1,256})?(?:@[^\s/\"'<>`@,\0]{1,256}){0,3})@(?=[\w\[.%-])",
        probe=r"[A-Za-z]://[^\s:/@\"'<>`]*:[^\s/\"'<>`@]*@",
    ),
    _rule(
        "url.token",
        "TOKEN",
        r"[A-Za-z]://(?P<secret>(?=[A-Za-z_.-]*\d)[A-Za-z0-9_.-]{16,256})@(?=[\w\[.-])",
        probe=r"[A-Za-z]://[A-Za-z0-9_.-]*@",
    ),
    _rule(
        "url.query",
        "TOKEN",
        r"[?&](?i:access_token|api_?key|apikey|auth|auth_token|client_secret|key|password|passwd|pwd|secret|sig|signature|token|private_token|code|refresh_token"
        r"|id_token|x-amz-signature|x-amz-credential|x-amz-security-token|sv_token|session|sessionid|sid|sas|jwt|pass|hmac)=(?P<secret>[^\s&\"'<>`#\0]{8,2000})",
        check=lambda value: looks_given(value) and not value.isdigit() and "(" not in value,
    ),
    _rule(
        "dsn.go",
        "PASSWORD",
        r"(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]{1,64}:(?P<secret>[^\s\"'`<>/\0]{1,256})@(?:tcp|unix|udp|cloudsql)\(",
        probe=r"@(?:tcp|unix|udp|cloudsql)\(",
        back=320,
    ),
    _rule(
        "dsn.words",
        "PASSWORD",
        r"(?i:[;\"']\s?(?:pwd|password))=(?P<secret>[^\s;\"'<\0$&][^;\"'<\0\s]{2,200})(?=[;\"']|\s{1,2}[a-z_]+=|\s*$)",
        check=lambda value: not_stand_in(value) and re.match(r"[A-Za-z_]\w*\(", value) is None,
    ),
    _rule(
        "netrc",
        "PASSWORD",
        r"login\s{1,9}\S{1,128}\s{1,9}(?:account\s{1,4}\S{1,64}\s{1,4})?password\s{1,9}(?P<secret>[^\s<\0]\S{0,255})",
    ),
    _rule(
        "pgpass",
        "PASSWORD",
        r"(?<![A-Za-z0-9_.*-])[A-Za-z0-9_.*-]{1,128}:(?:\d{2,5}|\*):[A-Za-z0-9_*-]{1,64}:[A-Za-z_*][A-Za-z0-9_*.-]{0,63}:"
        r"(?P<secret>[^\s:<\0][^\s<\0]{2,200})",
        probe=r"[A-Za-z0-9*]:(?:\d{2,5}|\*):[A-Za-z0-9_*-]",
        back=127,
        check=_is_pgpass,
    ),
    _rule("sshpass", "PASSWORD", r"sshpass\s{1,3}-p\s{0,3}[\"'\\]{0,8}(?P<secret>[^\s<\"'$\0][^\s<\"'\0]{0,255})"),
    _rule(
        "mysql.p",
        "PASSWORD",
        r"\s-p[\"'\\]{0,8}(?P<secret>[^\s<'\"$\0-][^\s<\"'\0]{2,128})",
        near="mysql mariadb dolt",
        check=lambda value: not_stand_in(value) and (not value.isdigit() or len(value) > 5),
    ),
    _rule(
        "curl.user",
        "PASSWORD",
        r"\s(?:-[a-zA-Z]{0,6}u|--user|--proxy-user|-U|-a|--auth)[ =]{0,2}[\"'\\]{0,8}[^\s:\"'<]{1,128}:(?P<secret>[^\s\"'<$\0][^\s\"'<\0]{0,127})",
        near="curl wget http xh",
        probe=r"\s(?:-[a-zA-Z]{0,6}u|--user|--proxy-user|-U|-a|--auth)[ =]{0,2}[\"'\\]{0,8}[^\s\"'<]",
    ),
    _rule(
        "wget.password",
        "PASSWORD",
        r"--(?:http-|ftp-|proxy-)?passw(?:or)?d[= ][\"'\\]{0,8}(?P<secret>[^\s\"'<$\0-][^\s\"'<\0]{2,127})",
        check=not_stand_in,
    ),
    _rule("redis.cli", "PASSWORD", r"\s-a\s{1,2}[\"'\\]{0,8}(?P<secret>[^\s\"'<$\0-][^\s\"'<\0]{2,127})", near="redis"),
    _rule(
        "redis.config",
        "PASSWORD",
        r"(?:requirepass|masterauth)\s{1,4}[\"']?(?P<secret>[^\s\"'<$\0][^\s\"'<\0]{2,127})",
        check=looks_given,
    ),
    _rule(
        "flag.password",
        "PASSWORD",
        r"\s(?:-p|-P|-w|--password)[ =]{0,2}[\"'\\]{0,8}(?P<secret>[^\s\"'<$\0-][^\s\"'<\0]{4,127})",
        near="docker podman helm oras login vault mongo zip 7z rar ldapsearch sqlcmd rabbitmqadmin skopeo htpasswd",
        check=lambda value: looks_given(value) and _is_passwordish(value),
    ),
    _rule("openssl.pass", "PASSWORD", r"-pass(?:in|out)?\s{1,2}[\"']?pass:(?P<secret>[^\s\"'<$\0]{3,200})"),
    _rule(
        "smb.user",
        "PASSWORD",
        r"\s-U\s{0,2}[\"']?[A-Za-z0-9._\\/-]{1,64}%(?P<secret>[^\s\"'<\0]{2,128})",
        near="smb rpcclient net mount",
    ),
    _rule(
        "sql.password",
        "PASSWORD",
        r"(?i:identified\s(?:with\s\S{1,40}\s)?by|(?:role|user)\s\S{1,64}\s(?:with\s)?(?:login\s|superuser\s)?(?:encrypted\s)?password|set\spassword\s?=?|\sencrypted\spassword)"
        r"\s{1,3}(?:(?i:password)\()?['\"](?P<secret>[^'\"\n\0<]{2,200})['\"]",
        check=lambda value: not_stand_in(value) and value.count(" ") < 2,
    ),
    _rule(
        "chpasswd",
        "PASSWORD",
        r"echo\s[\"']?[a-z_][a-z0-9_-]{0,31}:(?P<secret>[^\s\"'|\0<$]{3,128})[\"']?\s{0,2}\|\s{0,2}(?:sudo\s)?chpasswd",
    ),
    _rule(
        "piped",
        "PASSWORD",
        r"(?:echo|printf)\s(?:-n\s|'%s'\s|%s\s)?[\"']?(?P<secret>[^\s\"'|\0<$`]{4,256})[\"']?\s{0,2}\|\s{0,2}(?:sudo\s-S|docker\slogin|[^\n|]{0,80}--password-stdin|[^\n|]{0,60}--with-token|kinit|[a-z]{2,10}\slogin)",
    ),
    _rule(
        "otp",
        "OTP_SEED",
        r"(?:otpauth://[^\s\"'<\0]{1,300}?|(?i:totp|otp|2fa|mfa)[A-Za-z_ -]{0,20}[\"']?\s{0,3}[:=]?\s{0,3}[\"']?|[?&])secret=(?P<secret>[A-Z2-7]{16,128}=*)",
        probe=r"secret=[A-Z2-7]{16}",
        back=320,
    ),
    _rule("otp.uri", "OTP_SEED", r"otpauth://[^\s\"'<\0]{1,300}?secret=(?P<secret>[A-Za-z2-7]{16,128})"),
    _rule(
        "otp.named",
        "OTP_SEED",
        r"(?i:totp|otp|2fa|mfa|authenticator)[A-Za-z_ -]{0,24}[\"']?\s{0,3}(?:[:=]|is)\s{0,3}[\"'`]?(?P<secret>[A-Z2-7]{16,64}|(?:[A-Za-z2-7]{4} ){3,15}[A-Za-z2-7]{4})(?![A-Za-z0-9])",
    ),
    _rule(
        "wireguard",
        "WIREGUARD_KEY",
        r"(?i:private_?key|preshared_?key|psk)\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[A-Za-z0-9+/]{43}=)",
        size=44,
    ),
    _rule("gcp.account", "GCP_KEY", r"private_key_id[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[0-9a-f]{40})", size=40),
    _rule(
        "wallet.hex",
        "WALLET_KEY",
        r"(?i:priv(?:ate)?[_ ]?key|wallet[_ ]?key|secret[_ ]?key|mnemonic|seed)[\"']?\s{0,3}(?:[:=]|is)\s{0,3}[\"'`]?(?P<secret>(?:0x)?[0-9a-fA-F]{64})(?![0-9a-fA-F])",
    ),
    _rule(
        "wallet.wif",
        "WALLET_KEY",
        r"(?<![A-Za-z0-9])(?:5[HJK][1-9A-HJ-NP-Za-km-z]{49}|[KL][1-9A-HJ-NP-Za-km-z]{51})(?![A-Za-z0-9])",
        check=lambda value: sum(sign.isdigit() for sign in value) > 2,
    ),
    _rule("wallet.xprv", "WALLET_KEY", r"[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,112}"),
    _rule(
        "wallet.seed",
        "WALLET_SEED",
        r"(?i:mnemonic|seed[ _]?phrase|recovery[ _]?phrase|secret[ _]?phrase|wallet[ _]?seed)[\"']?\s{0,3}(?:[:=]|is|was)?\s{0,3}[\"'`]?(?P<secret>[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})(?![a-z])",
    ),
    _rule("ssh.body", "PRIVATE_KEY", r"(?<![A-Za-z0-9+/])b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=\s]{20,20000}"),
    _rule(
        "der.body",
        "PRIVATE_KEY",
        r"(?<![A-Za-z0-9+/])(?:MIIE[opqruvw][A-Za-z0-9+/]{2}[IJBC]|MIIJ[KQJ]|MIICX[AQwg]|MIIEvQIBADAN|MC4CAQAwBQYDK2Vw|MHcCAQEE|MIGHAgEA|MIGkAgEBBD|MIHcAgEB)[A-Za-z0-9+/=\s]{40,20000}",
        check=lambda value: len(value) > 60,
    ),
    _rule(
        "pgp.b64",
        "PRIVATE_KEY",
        r"(?<![A-Za-z0-9+/])lQ[OHPcdW][A-Za-z0-9+/]{4}B[A-Za-z0-9+/]{200,}={0,2}",
        check=not_dull,
    ),
    _rule("putty", "PRIVATE_KEY", r"PuTTY-User-Key-File-\d(?:.*\n){1,200}?Private-MAC: ?\w*"),
    _rule(
        "shadow",
        "PASSWORD_HASH",
        r"\$(?:1|2[abxy]?|5|6|7|y|gy|argon2id?|argon2i|scrypt|pbkdf2-sha(?:1|256|512)|apr1|sha1|md5)\$[A-Za-z0-9./,=+$-]{16,200}",
        check=not_dull,
    ),
    _rule(
        "pbkdf2",
        "PASSWORD_HASH",
        r"pbkdf2[_:]sha(?:1|256|512)[$:]\d{3,8}[$:][A-Za-z0-9+/=$:.-]{20,200}",
        check=not_dull,
    ),
    _rule(
        "ansible.vault",
        "ANSIBLE_VAULT",
        r"\$ANSIBLE_VAULT;[0-9.]{3};AES256[^\n]{0,40}(?:\s+[0-9a-f]{60,90}){1,400}",
        check=not_dull,
    ),
    _rule(
        "htpasswd",
        "PASSWORD_HASH",
        r"(?<![A-Za-z0-9])\{(?:SSHA|SHA|SMD5|CRYPT)(?:256|512)?\}[A-Za-z0-9+/=$./]{16,200}",
        check=not_dull,
    ),
    _rule(
        "ntlm",
        "PASSWORD_HASH",
        r"(?<![0-9a-f])[0-9a-f]{32}:(?P<secret>[0-9a-f]{32})(?![0-9a-f])",
        probe=r"[0-9a-f]{4}:[0-9a-f]{16}",
        back=28,
    ),
    _rule(
        "git.extraheader",
        "AUTHORIZATION",
        r"extraheader\s{0,3}[=\"' ]{1,3}\s{0,2}AUTHORIZATION:\s(?i:basic|bearer)\s(?P<secret>\S{6,400})",
    ),
    _rule("docker.auth", "DOCKER_AUTH", r"[\"']auth[\"']\s{0,3}:\s{0,3}[\"'](?P<secret>[A-Za-z0-9+/=]{8,400})[\"']"),
    _rule(
        "kube.data",
        "KUBE_SECRET",
        r"(?:client-key-data|token-data|\.dockerconfigjson|client_key_data)[\"']?:\s{0,3}[\"']?(?P<secret>[A-Za-z0-9+/=]{16,20000})",
    ),
    _rule(
        "pin",
        "PIN",
        r"(?i:(?<![a-z])(?:pin(?: code)?|passcode|otp(?: code)?|one-time (?:code|password)|verification code|security code|2fa code|backup code))[\"']?\s{0,2}(?:[:=]|is|was)\s{0,3}[\"'`]?(?P<secret>\d{4,8})(?![\d.])",
    ),
    _rule(
        "card",
        "CARD_NUMBER",
        r"(?<![\w.])(?:4\d{3}|5[1-5]\d{2}|3[47]\d{2}|6011)(?:[ -]?\d{4,6}){2}[ -]?\d{3,5}(?![\w.])",
        probe=r"[3-6]\d{3}[ -]?\d{4}",
        check=_luhn,
    ),
    _rule(
        "iban",
        "IBAN",
        r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])",
        probe=r"[A-Z]{2}\d{2} ?[A-Z0-9]{4} ?[A-Z0-9]",
        check=_iban,
    ),
    _rule(
        "ssn",
        "SSN",
        r"(?i:ssn|social security(?: number| no\.?)?)[\"']?\s{0,2}(?:[:=#]|is)?\s{0,3}[\"']?(?P<secret>\d{3}-\d{2}-\d{4})(?!\d)",
    ),
)
