"""The base URLs of API and login for a region, domain, host or URL.

The table is only a convenience: unknown regions are accepted, because new ones appear before any list
has them. Source: the official Python SDK 269.0.0 and the official Terraform provider.
"""

import logging
import re
from dataclasses import dataclass
from difflib import get_close_matches

from genesys_eventbridge.platform.wire import LONGEST_PATH, is_loopback, normal_host, without_token
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

DOMAINS: dict[str, str] = {
    "us-east-1": "mypurecloud.com",
    "us-east-2": "use2.us-gov-pure.cloud",
    "us-west-2": "usw2.pure.cloud",
    "ca-central-1": "cac1.pure.cloud",
    "mx-central-1": "mxc1.pure.cloud",
    "sa-east-1": "sae1.pure.cloud",
    "eu-west-1": "mypurecloud.ie",
    "eu-west-2": "euw2.pure.cloud",
    "eu-central-1": "mypurecloud.de",
    "eu-central-2": "euc2.pure.cloud",
    "eusc-de-east-1": "edee1.eusc-pure.cloud",
    "me-central-1": "mec1.pure.cloud",
    "ap-south-1": "aps1.pure.cloud",
    "ap-southeast-1": "apse1.pure.cloud",
    "ap-southeast-2": "mypurecloud.com.au",
    "ap-northeast-1": "mypurecloud.jp",
    "ap-northeast-2": "apne2.pure.cloud",
    "ap-northeast-3": "apne3.pure.cloud",
}
# Hosts and keys that appear in tutorials but are not run by Genesys, and what was probably meant.
_TUTORIAL_NAMES = {
    "mygen.com": "mypurecloud.com",
    "mygenesys.com": "mypurecloud.com",
    "genesyscloud.com": "mypurecloud.com",
    "us.genesys.cloud": "mypurecloud.com",
    "usw2.mygen.com": "usw2.pure.cloud",
    "eu.mypurecloud.com": "mypurecloud.ie",
    "us-gov-west-1": "us-east-2",
}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]*\]|[^/:\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?",
    re.IGNORECASE,
)
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The base URLs of one region; ``known`` is False if it is not in our table."""

    api_base_url: str
    login_base_url: str
    known: bool


def hosts(region: str) -> Hosts:
    """The base URLs of a region: a key (``eu-west-1``), domain, host (``api.mypurecloud.ie``) or URL.

    Raises ValueError, with the known regions and the fix, for anything else.
    """
    given = _text(region, "REGION").lower()
    domain = DOMAINS.get(given.replace("_", "-"))
    if domain is None:
        domain = _domain(given)
    return Hosts(f"https://api.{domain}", f"https://login.{domain}", domain in DOMAINS.values())


def did_you_mean(region: str) -> str:
    """The known region or domain that an unknown ``region`` resembles or tutorials confuse it with, or ""."""
    given = _stem(region.strip().lower()).replace("_", "-")
    names = [*DOMAINS, *DOMAINS.values()]
    close = [] if given in names else get_close_matches(given, names, n=1, cutoff=0.7)
    return _TUTORIAL_NAMES.get(given) or next(iter(close), "")


def derive_login(api_base_url: str) -> str:
    """The login base URL for an API base URL: ``https://api.x`` -> ``https://login.x``.

    Raises ValueError if the host does not begin with ``api.`` or the URL has a path: in these cases the
    official SDKs silently send the client secret to the API host.
    """
    url = check_url(api_base_url, "API_BASE_URL")
    scheme, _, place = url.partition("://")
    if not place.startswith("api.") or "/" in place:
        raise ValueError(
            f"LOGIN_BASE_URL cannot be derived from API_BASE_URL {_shown(url)}, which is not like "
            "https://api.<domain>. Set LOGIN_BASE_URL, normally https://login.<domain>."
        )
    return f"{scheme}://login.{place.removeprefix('api.')}"


def check_url(url: str, setting: str) -> str:
    """``url`` normalised: lower-case host, no default port, no trailing slash or dot.

    Accepts https, and http on this machine, with an optional port and path prefix. Raises ValueError naming
    ``setting`` for everything else.
    """
    given = _text(url, setting)
    match = _URL.fullmatch(given)
    if "@" in given or any(sign in given for sign in "?#\\") or match is None:
        raise ValueError(
            f"{setting} {_shown(given)} is not the URL of a host. Write it like https://api.mypurecloud.com, "
            "without user name, password, query or fragment."
        )
    scheme = match["scheme"].lower()
    host = normal_host(match["host"])
    if not host:
        raise ValueError(
            f"{setting} names {_shown(match['host'])}, which is not a valid host name or address. "
            f"{_remedy(setting)}"
        )
    if scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"{setting} {_shown(given)} would send credentials in clear text: http is allowed only "
            "for this machine (localhost, 127.0.0.1, [::1]). Use https."
        )
    path = _path(match["path"] or "", setting)
    if setting == "API_BASE_URL" and path.endswith("/api/v2"):
        path = path.removesuffix("/api/v2")
        logger.warning("API_BASE_URL ends with /api/v2, which is already part of EVENTS_PATH; removed it.")
    return f"{scheme}://{host}{_port(match['port'], scheme, setting)}{path}"


def is_this_machine(url: str) -> bool:
    """Whether a URL returned by ``check_url`` is on this machine."""
    match = _URL.fullmatch(url)
    return match is not None and is_loopback(match["host"])


def _text(value: object, setting: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"{setting} must be non-empty text, got {clean(repr(value), 60)}. {_remedy(setting)}"
        )
    text = value.strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"{setting} {_shown(text)} has spaces, control characters or non-ASCII letters. "
            f"{_remedy(setting)}"
        )
    return text


def _remedy(setting: str) -> str:
    if setting == "REGION":
        return f"Known regions: {', '.join(DOMAINS)}. For another host set API_BASE_URL and LOGIN_BASE_URL."
    return (
        f"Write {setting} like https://{'login' if setting.startswith('LOGIN') else 'api'}.mypurecloud.com."
    )


def _domain(given: str) -> str:
    domain = _stem(given)
    labels = domain.split(".")
    if len(labels) < 2 or labels[-1].isdigit() or len(domain) > 240 or normal_host(domain) != domain:
        meant = did_you_mean(given)
        raise ValueError(
            f"REGION {_shown(given)} is not a region, a domain or an https URL."
            + (f" Did you mean {meant}?" if meant else "")
            + f" {_remedy('REGION')}"
        )
    return domain


def _stem(given: str) -> str:
    """The domain in a host or URL: no scheme, path, trailing dots, or one leading api, login or apps."""
    host = re.split(r"[/?#]", given.removeprefix("https://"), maxsplit=1)[0].rstrip(".")
    first, _, rest = host.partition(".")
    return rest if first in {"api", "login", "apps"} and "." in rest else host


def _shown(given: str) -> str:
    """The value for an error message, without user name, password and query."""
    place = "***" + given[given.rfind("@") :] if "@" in given else given
    return repr(clean(without_token(re.sub(r"([?#]).+", r"\1***", place, count=1)), 100))


def _port(port: str | None, scheme: str, setting: str) -> str:
    if port is None or int(port) == {"http": 80, "https": 443}[scheme]:
        return ""
    if not 0 < int(port) < 65536:
        raise ValueError(f"{setting} has port {port}; it must be a number from 1 to 65535.")
    return f":{int(port)}"


def _path(path: str, setting: str) -> str:
    segments = path.strip("/").split("/") if path.strip("/") else []
    fits = len(path) <= LONGEST_PATH
    if not fits or not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        raise ValueError(
            f"{setting} has the path {_shown(path)}; a path prefix may have letters, digits and . _ ~ - "
            f"between its slashes, at most {LONGEST_PATH} characters in total."
        )
    return "".join(f"/{segment}" for segment in segments)
