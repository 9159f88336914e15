"""Tokens that carry their issuer's mark."""

from __future__ import annotations

import re

from gtftd.scrub.randomness import surprise
from gtftd.scrub.rules import Rule, not_dull

_N = r"(?<![A-Za-z0-9_-])"
"""Nothing of a word before."""
_B = r"(?<![A-Za-z0-9])"
_HEX = "[0-9a-fA-F]"
_B64 = "[A-Za-z0-9+/]"
_URL = "[A-Za-z0-9_-]"
_AN = "[A-Za-z0-9]"


def _mixed(value: str) -> bool:
    """Not a name made of words: there is a digit, and enough variety."""
    return not_dull(value) and any(sign.isdigit() for sign in value)


def _varied_tail(value: str) -> bool:
    """Behind a row of one letter something else begins."""
    return len(set(value.lstrip("A")[:40])) > 12


def _random_tail(value: str) -> bool:
    """The part behind the issuer's mark was drawn by chance."""
    tail = re.split(r"[_.-]", value)[-1]
    return not_dull(value) and (surprise(tail if len(tail) >= 16 else value) > -0.6 or len(tail) >= 40)


def _rule(
    name: str, kind: str, source: str, *, size: int = 0, check: object = not_dull, probe: str = "", back: int = 0
) -> Rule:
    return Rule(name, kind, source, size=size, check=check, probe=probe, back=back)  # type: ignore[arg-type]


TOKEN_RULES: tuple[Rule, ...] = (
    # source forges
    _rule(
        "github",
        "GITHUB_TOKEN",
        r"gh[pousr]_[A-Za-z0-9_]{16,255}",
        size=40,
        check=lambda value: not_dull(value) and surprise(value[4:]) > -0.6 and ("_" not in value[4:] or _mixed(value)),
    ),
    _rule("github.fine", "GITHUB_TOKEN", r"github_pat_[A-Za-z0-9_]{16,255}", size=93),
    _rule("github.app", "GITHUB_TOKEN", rf"{_N}v1\.[0-9a-f]{{40}}(?![0-9a-f])", size=43),
    _rule(
        "gitlab", "GITLAB_TOKEN", r"gl(?:pat|dt|ft|soat|rt|rtr|cbt|imt|ptt|agent|oas|ffct|wt)-[A-Za-z0-9_.-]{16,300}"
    ),
    _rule("gitlab.runner", "GITLAB_TOKEN", r"GR1348941[A-Za-z0-9_-]{16,64}", size=29),
    _rule("gitlab.session", "GITLAB_TOKEN", r"_gitlab_session=(?P<secret>[0-9a-f]{24,64})"),
    _rule("bitbucket", "BITBUCKET_TOKEN", rf"{_B}(?<![+/])ATBB[A-Za-z0-9]{{24,64}}"),
    _rule("gitea", "GITEA_TOKEN", r"(?:gitea|gta|forgejo)_[a-f0-9]{32,64}"),
    # models
    _rule("anthropic", "ANTHROPIC_KEY", r"sk-ant-[A-Za-z0-9_-]{10,255}", size=108),
    _rule("openai", "OPENAI_KEY", r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{10,255}"),
    _rule("openrouter", "OPENROUTER_KEY", r"sk-or-(?:v\d-)?[A-Za-z0-9_-]{10,128}", size=73),
    _rule("openai.legacy", "OPENAI_KEY", r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", size=51),
    _rule("sk", "API_KEY", rf"{_N}sk-[A-Za-z0-9_-]{{16,200}}", check=_random_tail),
    _rule("openai.session", "OPENAI_KEY", rf"{_N}sess-[A-Za-z0-9]{{32,64}}", check=_mixed),
    _rule("groq", "GROQ_KEY", r"gsk_[A-Za-z0-9]{20,80}", size=56),
    _rule("xai", "XAI_KEY", r"xai-[A-Za-z0-9]{20,128}", size=84, check=_random_tail),
    _rule("huggingface", "HF_TOKEN", rf"{_B}hf_[A-Za-z0-9]{{20,64}}", size=37, check=_random_tail),
    _rule("huggingface.org", "HF_TOKEN", r"api_org_[A-Za-z0-9]{20,64}", size=42),
    _rule("replicate", "REPLICATE_TOKEN", r"r8_[A-Za-z0-9]{20,64}", size=40, check=_random_tail),
    _rule("perplexity", "PERPLEXITY_KEY", r"pplx-[A-Za-z0-9]{20,80}", size=53, check=_random_tail),
    _rule(
        "cohere",
        "COHERE_KEY",
        r"(?i:cohere|co_api)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[A-Za-z0-9]{40})(?![A-Za-z0-9])",
        size=40,
    ),
    _rule(
        "mistral",
        "MISTRAL_KEY",
        r"(?i:mistral)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[A-Za-z0-9]{32})(?![A-Za-z0-9])",
        size=32,
    ),
    _rule("together", "TOGETHER_KEY", r"tgp_v1_[A-Za-z0-9_-]{20,80}"),
    _rule("fireworks", "FIREWORKS_KEY", r"fw_[A-Za-z0-9]{20,64}", check=_random_tail),
    _rule("nvidia", "NVIDIA_KEY", r"nvapi-[A-Za-z0-9_-]{32,128}"),
    _rule("voyage", "VOYAGE_KEY", rf"{_N}pa-[A-Za-z0-9_-]{{40,64}}", check=_mixed),
    _rule("langsmith", "LANGSMITH_KEY", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{8,12}"),
    _rule("langfuse", "LANGFUSE_KEY", r"sk-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", size=42),
    _rule("wandb", "WANDB_KEY", r"wandb_v1_[A-Za-z0-9_-]{20,128}"),
    _rule("cerebras", "CEREBRAS_KEY", r"csk-[a-z0-9]{32,64}", check=_random_tail),
    _rule("pinecone", "PINECONE_KEY", r"pcsk_[A-Za-z0-9_]{32,128}"),
    _rule("elevenlabs", "ELEVENLABS_KEY", rf"{_N}sk_[a-f0-9]{{48}}(?![a-f0-9])", size=51),
    # clouds
    _rule(
        "aws.id",
        "AWS_KEY_ID",
        r"(?<![A-Z0-9a-z])(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA|A3T[A-Z0-9])[0-9A-Z]{16}(?![0-9A-Za-z])",
        size=20,
    ),
    _rule(
        "aws.secret",
        "AWS_SECRET",
        r"(?i:aws|amz|amazon|secret)[A-Za-z_ .-]{0,30}[\"']?\s{0,3}(?:[:=]|=>)\s{0,3}[\"']?"
        r"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        size=40,
        check=_mixed,
    ),
    _rule("aws.session", "AWS_SESSION", r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz|AQoDYXdz)[A-Za-z0-9+/=%]{40,2000}"),
    _rule("aws.bedrock", "AWS_SECRET", r"ABSK[A-Za-z0-9+/]{80,200}={0,2}"),
    _rule("aws.mws", "AWS_SECRET", r"amzn\.mws\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    _rule("google.key", "GOOGLE_KEY", r"AIza[A-Za-z0-9_-]{30,60}", size=39),
    _rule("google.oauth", "GOOGLE_TOKEN", r"ya29\.[A-Za-z0-9_-]{16,1000}"),
    _rule("google.secret", "GOOGLE_SECRET", r"GOCSPX-[A-Za-z0-9_-]{16,64}", size=35),
    _rule("google.refresh", "GOOGLE_TOKEN", r"1//0[A-Za-z0-9_-]{30,200}"),
    _rule("google.code", "GOOGLE_TOKEN", r"4/0A[A-Za-z0-9_-]{40,120}"),
    _rule("google.captcha", "GOOGLE_KEY", r"(?<![A-Za-z0-9_-])6L[0-9A-Za-z_-]{6}AAAAA[A-Za-z0-9_-]{20,30}", size=40),
    _rule(
        "azure.storage",
        "AZURE_KEY",
        r"(?:AccountKey|SharedAccessKey|SharedSecretKey|accesskey)=(?P<secret>[A-Za-z0-9+/]{20,128}={0,2})",
    ),
    _rule("azure.sas", "AZURE_SAS", r"(?:[?&]|&amp;)sig=(?P<secret>[A-Za-z0-9%+/=_-]{30,128})"),
    _rule(
        "azure.client",
        "AZURE_SECRET",
        r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~-])",
        size=40,
        probe=r"\dQ~[A-Za-z0-9_~.-]{16}",
        back=3,
    ),
    _rule(
        "azure.devops",
        "AZURE_TOKEN",
        r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
        size=84,
        probe="AZDO[A-Za-z0-9]{4}",
        back=76,
    ),
    _rule(
        "azure.marked",
        "AZURE_KEY",
        r"[A-Za-z0-9+/]{40,80}(?:AzSe|AzFu|ASt|AzCa|ACDb|APIM|AIoT|AEhS|ARm|ACR|AZEG)[A-Za-z0-9+/]{4,10}==",
        probe="(?:AzSe|AzFu|ASt|AzCa|ACDb|APIM|AIoT|AEhS|ARm|ACR|AZEG)[A-Za-z0-9+/]{4,10}==",
        back=80,
    ),
    _rule("digitalocean", "DIGITALOCEAN_TOKEN", r"do[opr]_v1_[a-f0-9]{16,64}", size=71),
    _rule(
        "digitalocean.spaces",
        "DIGITALOCEAN_KEY",
        r"(?<![A-Z0-9a-z])DO(?:00|801)[A-Z0-9]{15,18}(?![A-Za-z0-9])",
        check=_mixed,
    ),
    _rule(
        "linode",
        "LINODE_TOKEN",
        r"(?i:linode)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[a-f0-9]{64})",
        size=64,
    ),
    _rule("heroku", "HEROKU_KEY", r"HRKU-[A-Za-z0-9_-]{30,80}"),
    _rule(
        "heroku.uuid",
        "HEROKU_KEY",
        r"(?i:heroku)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"(?P<secret>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})",
        size=36,
    ),
    _rule("fly", "FLY_TOKEN", r"(?:FlyV1 )?fm[12][arp]?_[A-Za-z0-9+/=_-]{40,2000}"),
    _rule("fly.old", "FLY_TOKEN", r"fo1_[A-Za-z0-9_-]{40,60}", size=47),
    _rule("netlify", "NETLIFY_TOKEN", rf"{_B}nf[pco]_[A-Za-z0-9]{{30,60}}", size=40, check=_random_tail),
    _rule("vercel", "VERCEL_TOKEN", r"vc[pkoiar]_[A-Za-z0-9]{24,80}", check=_random_tail),
    _rule("vercel.blob", "VERCEL_TOKEN", r"vercel_blob_rw_[A-Za-z0-9_]{20,80}"),
    _rule(
        "vercel.named",
        "VERCEL_TOKEN",
        r"(?i:vercel)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[A-Za-z0-9]{24})(?![A-Za-z0-9])",
        size=24,
        check=_random_tail,
    ),
    _rule("cloudflare.ca", "CLOUDFLARE_KEY", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{100,160}"),
    _rule("cloudflare", "CLOUDFLARE_TOKEN", r"cf(?:ut|at|k)_[A-Za-z0-9_-]{30,80}"),
    _rule(
        "cloudflare.named",
        "CLOUDFLARE_TOKEN",
        r"(?:(?i:cloudflare)|CF)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"(?P<secret>[A-Za-z0-9_-]{37,45})(?![A-Za-z0-9_-])",
        check=_mixed,
    ),
    _rule("alibaba", "ALIBABA_KEY_ID", r"(?<![A-Za-z0-9])LTAI[A-Za-z0-9]{12,26}(?![A-Za-z0-9])", check=_random_tail),
    _rule("tencent", "TENCENT_KEY_ID", r"(?<![A-Za-z0-9])AKID[A-Za-z0-9]{28,40}(?![A-Za-z0-9])", check=_random_tail),
    _rule("scaleway", "SCALEWAY_KEY", r"(?<![A-Z0-9a-z])SCW[A-Z0-9]{17}(?![A-Z0-9a-z])", size=20),
    _rule(
        "yandex",
        "YANDEX_KEY",
        r"(?<![A-Za-z0-9])(?:AQVN[A-Za-z0-9_-]{34,40}|y[03]_[A-Za-z0-9_-]{50,120}|t1\.[A-Za-z0-9_-]{20,}[=]{0,2}\.[A-Za-z0-9_-]{60,}={0,2})",
    ),
    _rule("planetscale", "PLANETSCALE_TOKEN", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{30,80}"),
    _rule("supabase", "SUPABASE_KEY", r"sb(?:p|_secret|_publishable)_[A-Za-z0-9_-]{20,80}", check=_random_tail),
    _rule("neon", "NEON_KEY", r"(?:napi|npg)_[A-Za-z0-9]{12,80}", check=_random_tail),
    _rule("databricks", "DATABRICKS_TOKEN", r"dapi[a-f0-9]{32}(?:-\d)?", size=36),
    _rule("mongodb.atlas", "MONGODB_KEY", r"mdb_sa_sk_[A-Za-z0-9_-]{30,60}"),
    # talk
    _rule("slack", "SLACK_TOKEN", r"xox[a-z](?:-[0-9])?-[A-Za-z0-9-]{8,255}", check=_mixed),
    _rule("slack.dotted", "SLACK_TOKEN", r"xox[ep](?:\.xox[bp])?-\d-[A-Za-z0-9-]{20,255}"),
    _rule("slack.app", "SLACK_TOKEN", r"xapp-\d-[A-Za-z0-9-]{20,255}"),
    _rule(
        "slack.webhook", "SLACK_WEBHOOK", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/+-]{20,120}"
    ),
    _rule("discord.webhook", "DISCORD_WEBHOOK", r"/api/webhooks/\d{10,20}/[A-Za-z0-9_-]{20,100}"),
    _rule(
        "discord",
        "DISCORD_TOKEN",
        r"(?<![A-Za-z0-9_.-])(?:mfa\.[A-Za-z0-9_-]{20,100}|[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45})",
        check=_mixed,
        probe=r"(?:mfa\.[A-Za-z0-9_-]{20}|\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{16})",
        back=28,
    ),
    _rule("teams.webhook", "TEAMS_WEBHOOK", r"webhook\.office\.com/webhookb2/[A-Za-z0-9@/_-]{36,300}"),
    _rule("telegram", "TELEGRAM_TOKEN", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{32,34}", size=46),
    _rule("twilio", "TWILIO_KEY", r"(?<![A-Za-z0-9])(?:AC|SK)[0-9a-f]{32}(?![0-9a-fA-F])", size=34),
    _rule("sendgrid", "SENDGRID_KEY", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", size=69),
    _rule(
        "mailgun",
        "MAILGUN_KEY",
        r"(?<![A-Za-z0-9])(?:key|pubkey|private)-[0-9a-z]{32}(?![0-9a-z])",
        size=36,
        check=_mixed,
    ),
    _rule(
        "mailgun.new",
        "MAILGUN_KEY",
        r"(?<![0-9a-f-])[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}(?![0-9a-f-])",
        size=50,
        probe="[0-9a-f]{4}-[0-9a-f]{8}-[0-9a-f]{8}",
        back=28,
    ),
    _rule(
        "mailchimp", "MAILCHIMP_KEY", r"(?<![0-9a-f])[0-9a-f]{32}-us\d{1,2}(?!\d)", probe=r"[0-9a-f]{4}-us\d", back=28
    ),
    _rule("brevo", "BREVO_KEY", r"x(?:keys|smtp)ib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    _rule("resend", "RESEND_KEY", r"(?<![A-Za-z0-9])re_[A-Za-z0-9]{6,12}_[A-Za-z0-9]{20,32}", check=_random_tail),
    _rule(
        "postmark",
        "POSTMARK_TOKEN",
        r"(?i:postmark)[A-Za-z_. -]{0,30}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"(?P<secret>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})",
        size=36,
    ),
    # money
    _rule("stripe", "STRIPE_KEY", r"(?<![A-Za-z0-9])[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,255}"),
    _rule("stripe.publishable", "STRIPE_KEY", r"(?<![A-Za-z0-9])pk_(?:live|test)_[A-Za-z0-9]{10,255}"),
    _rule("stripe.webhook", "STRIPE_SECRET", r"whsec_[A-Za-z0-9+/=]{20,128}"),
    _rule("square", "SQUARE_TOKEN", r"sq0[a-z]{3}-[A-Za-z0-9_-]{16,64}"),
    _rule("square.new", "SQUARE_TOKEN", r"(?<![A-Za-z0-9])EAAA[lE][A-Za-z0-9_-]{50,70}"),
    _rule("paypal", "PAYPAL_TOKEN", r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}"),
    _rule(
        "paypal.client",
        "PAYPAL_KEY",
        r"(?<![A-Za-z0-9_-])[AE][A-Za-z0-9_-]{79}(?![A-Za-z0-9_-])",
        size=80,
        check=lambda value: surprise(value) > 0.2,
        probe="(?:[^A-Za-z0-9_-])[AE][A-Za-z0-9_-]{79}[^A-Za-z0-9_-]",
        back=2,
    ),
    _rule("shopify", "SHOPIFY_TOKEN", r"shp(?:at|ca|pa|ss|ua|tka)_[a-fA-F0-9]{16,64}", size=38),
    _rule("facebook", "FACEBOOK_TOKEN", r"(?<![A-Za-z0-9+/])EAA[A-Za-z0-9]{60,300}(?![+/])", check=_mixed),
    _rule(
        "twitter",
        "TWITTER_TOKEN",
        r"(?<![A-Za-z0-9+/])A{21}[A-Za-z0-9%]{50,120}",
        check=_varied_tail,
        probe="A{21}[B-Za-z0-9%]",
        back=40,
    ),
    _rule(
        "plaid",
        "PLAID_TOKEN",
        r"(?:access|public|link)-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ),
    _rule("coinbase", "COINBASE_KEY", r"organizations/[0-9a-f-]{36}/apiKeys/[0-9a-f-]{36}"),
    _rule("razorpay", "RAZORPAY_KEY", r"rzp_(?:live|test)_[A-Za-z0-9]{14,24}"),
    _rule("flutterwave", "FLUTTERWAVE_KEY", r"FLW(?:SEC|PUB)K(?:_TEST)?-[A-Za-z0-9]{12,40}(?:-X)?"),
    _rule("mercadopago", "MERCADOPAGO_TOKEN", r"(?:APP_USR|TEST)-\d{10,20}-\d{6}-[a-f0-9]{32}-\d{6,12}"),
    _rule("lob", "LOB_KEY", r"(?:live|test)_(?:pub_)?[a-f0-9]{35}(?![a-f0-9])"),
    # packages
    _rule("npm", "NPM_TOKEN", r"npm_[A-Za-z0-9]{20,80}", size=40, check=_random_tail),
    _rule(
        "npm.config",
        "NPM_TOKEN",
        r"_(?:authToken|auth|password)\s{0,3}=\s{0,3}[\"']?(?P<secret>[A-Za-z0-9+/=_.-]{8,512}+)(?![(])",
        check=lambda value: _mixed(value) and re.match(r"(?i)my_?token", value) is None,
    ),
    _rule("pypi", "PYPI_TOKEN", r"pypi-[A-Za-z0-9_-]{40,512}"),
    _rule("rubygems", "RUBYGEMS_KEY", r"rubygems_[a-f0-9]{32,64}", size=57),
    _rule("crates", "CRATES_TOKEN", rf"{_N}cio[A-Za-z0-9]{{32}}(?![A-Za-z0-9])", size=35, check=_random_tail),
    _rule("nuget", "NUGET_KEY", rf"{_N}oy2[a-z0-9]{{43}}(?![a-z0-9])", size=46),
    _rule("docker", "DOCKER_TOKEN", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,64}", size=36),
    _rule("packagist", "PACKAGIST_TOKEN", r"packagist_[a-z]{3}_[a-f0-9]{40,80}"),
    _rule("clojars", "CLOJARS_TOKEN", r"CLOJARS_[A-Za-z0-9]{40,64}"),
    _rule("jfrog", "JFROG_KEY", r"(?<![A-Za-z0-9])(?:AKC[a-zA-Z0-9]{10,100}|cmVmdGtu[A-Za-z0-9]{40,80})", check=_mixed),
    _rule("hex.pm", "HEX_KEY", r"hex_[a-f0-9]{32}"),
    # watching
    _rule(
        "datadog",
        "DATADOG_KEY",
        r"(?:(?i:datadog)|DD)[A-Za-z_. -]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"(?P<secret>[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])",
    ),
    _rule("datadog.new", "DATADOG_KEY", r"dd(?:pat|apps?)_[A-Za-z0-9]{30,60}"),
    _rule("newrelic", "NEWRELIC_KEY", r"(?<![A-Za-z0-9])NR(?:AK|JS|II|IQ|RA|SP)-[A-Za-z0-9_-]{16,64}"),
    _rule(
        "newrelic.licence",
        "NEWRELIC_KEY",
        r"(?<![A-Za-z0-9])[0-9a-f]{36}NRAL|(?<![A-Za-z0-9])eu01xx[0-9a-f]{34}(?:NRAL)?",
        size=40,
        probe="(?:[0-9a-f]{4}NRAL|eu01xx[0-9a-f]{16})",
        back=32,
    ),
    _rule("grafana", "GRAFANA_TOKEN", r"gl(?:c|sa)_[A-Za-z0-9+/=_-]{32,400}", check=_mixed),
    _rule("grafana.key", "GRAFANA_KEY", r"eyJrIjoi[A-Za-z0-9+/=_-]{40,400}"),
    _rule("sentry", "SENTRY_TOKEN", r"sntry[suao]_[A-Za-z0-9+/=_-]{40,400}"),
    _rule("sentry.dsn", "SENTRY_DSN", r"https://(?P<secret>[0-9a-f]{32}(?::[0-9a-f]{32})?)@"),
    _rule(
        "pagerduty",
        "PAGERDUTY_KEY",
        r"(?:(?i:pagerduty|pager_duty)|PD)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}(?:[\"']|Token token=)?"
        r"(?P<secret>[A-Za-z0-9+_-]{20}|[a-f0-9]{32})(?![A-Za-z0-9+_-])",
        check=_mixed,
    ),
    _rule("pagerduty.token", "PAGERDUTY_KEY", r"Token token=(?P<secret>[A-Za-z0-9+_-]{16,64})"),
    _rule("dynatrace", "DYNATRACE_TOKEN", r"dt0[a-z]\d{2}\.[A-Z0-9]{8,24}\.[A-Z0-9]{32,80}"),
    _rule("honeycomb", "HONEYCOMB_KEY", r"hc[abc](?:ik|mk|lk)_[A-Za-z0-9]{26,80}"),
    _rule("posthog", "POSTHOG_KEY", r"ph[cx]_[A-Za-z0-9]{32,64}", check=_random_tail),
    _rule("logdna.axiom", "AXIOM_TOKEN", r"xa(?:at|pt)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    _rule("sonar", "SONAR_TOKEN", r"sq[pua]_[a-f0-9]{40}", size=44),
    _rule("snyk", "SNYK_TOKEN", r"snyk_[a-z]{2,4}\.[A-Za-z0-9_.-]{40,120}"),
    _rule(
        "codecov",
        "CODECOV_TOKEN",
        r"(?i:codecov)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"(?P<secret>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
        size=36,
    ),
    # work
    _rule("linear", "LINEAR_KEY", r"lin_(?:api|oauth|wh)_[A-Za-z0-9]{16,80}", size=48),
    _rule(
        "notion",
        "NOTION_TOKEN",
        r"(?<![A-Za-z0-9])(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,60})(?![A-Za-z0-9])",
        check=_random_tail,
        probe=r"(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40})",
    ),
    _rule("asana", "ASANA_TOKEN", r"(?<![\d/])[012]/\d{10,20}(?:/\d{10,20})?:[a-f0-9]{32}"),
    _rule(
        "asana.named",
        "ASANA_TOKEN",
        r"(?i:asana)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>[A-Za-z0-9]{32})(?![A-Za-z0-9])",
        size=32,
        check=_mixed,
    ),
    _rule("atlassian", "ATLASSIAN_TOKEN", r"AT(?:ATT|CTT)3[A-Za-z0-9_=-]{20,300}"),
    _rule("airtable", "AIRTABLE_TOKEN", r"(?<![A-Za-z0-9])pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", size=82),
    _rule(
        "airtable.key",
        "AIRTABLE_KEY",
        r"(?i:airtable)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>key[A-Za-z0-9]{14})(?![A-Za-z0-9])",
        size=17,
    ),
    _rule("figma", "FIGMA_TOKEN", r"fig[dor]_[A-Za-z0-9_-]{30,120}"),
    _rule("clickup", "CLICKUP_TOKEN", r"(?<![A-Za-z0-9])pk_\d{6,10}_[A-Z0-9]{32}"),
    _rule("trello", "TRELLO_TOKEN", r"ATTA[a-f0-9]{64}[A-Z0-9]{4,10}"),
    _rule("hubspot", "HUBSPOT_TOKEN", r"pat-(?:na|eu)\d-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    _rule("dropbox", "DROPBOX_TOKEN", r"(?<![A-Za-z0-9])sl\.(?:u\.)?[A-Za-z0-9_-]{100,1500}"),
    _rule("contentful", "CONTENTFUL_TOKEN", r"CFPAT-[A-Za-z0-9_-]{40,64}"),
    _rule("postman", "POSTMAN_KEY", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}", size=64),
    _rule("readme", "README_KEY", r"rdme_[a-z0-9]{70}"),
    _rule("typeform", "TYPEFORM_TOKEN", r"tfp_[A-Za-z0-9_.=-]{40,80}"),
    _rule("frameio", "FRAMEIO_TOKEN", r"fio-u-[A-Za-z0-9_=-]{60,70}"),
    _rule("duffel", "DUFFEL_TOKEN", r"duffel_(?:test|live)_[A-Za-z0-9_=-]{40,50}"),
    _rule("easypost", "EASYPOST_KEY", r"EZ[AT]K[A-Za-z0-9]{54}"),
    _rule("mapbox", "MAPBOX_TOKEN", r"(?<![A-Za-z0-9])[sp]k\.eyJ[A-Za-z0-9_-]{20,200}\.[A-Za-z0-9_-]{20,30}"),
    _rule("zapier", "ZAPIER_HOOK", r"hooks\.zapier\.com/hooks/catch/[A-Za-z0-9/]{12,60}"),
    # vaults and machines
    _rule("vault", "VAULT_TOKEN", r"(?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_-]{16,300}"),
    _rule(
        "vault.old",
        "VAULT_TOKEN",
        r"(?i:vault)[A-Za-z_. ]{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>s\.[A-Za-z0-9]{24})(?![A-Za-z0-9])",
        size=26,
    ),
    _rule(
        "terraform",
        "TERRAFORM_TOKEN",
        r"(?<![A-Za-z0-9])[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,80}",
        size=90,
        probe=r"\.atlasv1\.",
        back=14,
    ),
    _rule("pulumi", "PULUMI_TOKEN", r"pul-[a-f0-9]{40}", size=44),
    _rule("doppler", "DOPPLER_TOKEN", r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{30,60}"),
    _rule("1password", "ONEPASSWORD_TOKEN", r"ops_eyJ[A-Za-z0-9+/=_-]{100,2000}"),
    _rule(
        "1password.key",
        "ONEPASSWORD_KEY",
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
    ),
    _rule("infisical", "INFISICAL_TOKEN", r"(?<![A-Za-z0-9])st\.[a-f0-9]{24}\.[a-f0-9]{32}\.[a-f0-9]{32}"),
    _rule("age", "AGE_KEY", r"AGE-(?:SECRET-KEY|PLUGIN)-[0-9A-Z-]{20,120}", size=74),
    _rule("nats.seed", "NATS_SEED", r"(?<![A-Za-z0-9])S[UANOCX][A-Z2-7]{56}(?![A-Z0-9])", size=58),
    _rule("tailscale", "TAILSCALE_KEY", r"tskey-[a-z]{2,10}-[A-Za-z0-9]{6,32}(?:-[A-Za-z0-9]{16,64})?"),
    _rule("openshift", "OPENSHIFT_TOKEN", r"sha256~[A-Za-z0-9_-]{43}", size=50),
    _rule("k8s.bootstrap", "KUBE_TOKEN", r"K10[a-f0-9]{64}::[a-z]{1,20}:[a-z0-9]{16,64}"),
    _rule("jwt", "JWT", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{4,4000}){1,4}"),
    _rule("paseto", "PASETO", r"v[1-4]\.(?:local|public)\.[A-Za-z0-9_-]{40,2000}(?:\.[A-Za-z0-9_-]{1,400})?"),
    _rule(
        "facebook.app",
        "FACEBOOK_TOKEN",
        r"(?<!\d)\d{15,16}\|[0-9A-Za-z_-]{27}(?![A-Za-z0-9_-])",
        probe=r"\|[0-9A-Za-z_-]{16}",
        back=16,
    ),
    _rule("prefect", "PREFECT_KEY", r"pn[ub]_[A-Za-z0-9]{36}", size=40, check=_random_tail),
    _rule("buildkite", "BUILDKITE_TOKEN", r"bk(?:ua|aj|at|ct)_[a-zA-Z0-9]{40,64}"),
    _rule("circleci", "CIRCLECI_TOKEN", r"CCI(?:PAT|PRJ)_[A-Za-z0-9]{16,32}_[a-f0-9]{40}"),
    _rule(
        "launchdarkly",
        "LAUNCHDARKLY_KEY",
        r"(?:sdk|api|mob)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ),
    _rule(
        "unkey.clerk",
        "API_KEY",
        r"(?<![A-Za-z0-9])(?:unkey|clerk|dash|ctx7sk|e2b|exa|tvly|fc|jina|phx|mem0|sgp|ghu|gam|akey|apify_api)[_-](?:dev-|prod-)?[A-Za-z0-9_-]{24,80}",
        check=_random_tail,
    ),
)
