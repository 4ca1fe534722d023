"""One response of the token endpoint -> a token, or the reason why nothing can be sent."""

import logging
import math
import random
import re
from collections.abc import Callable, Collection

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.responses import read
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.answers import ERROR_LIMIT, Answer
from genesys_eventbridge.platform.outcomes import Halt, Rules, Token
from genesys_eventbridge.platform.protocols.verdicts import redirect_hint
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

_FALLBACK_LIFE = 60.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
# The token endpoint reports no wait. Spread the requests of many processes over its minute.
_SHORTEST_WAIT, _LONGEST_WAIT = 5.0, 60.0


def token_answer(
    response: httpx.Response,
    rules: Rules,
    *,
    login_host: str,
    secrets: Collection[str] = (),
    random: Callable[[], float] = random.random,
) -> Token:
    """The token in a response. Raises ``errors.Halted``, with the setting to change, if there is none.

    ``login_host`` is named in the error; ``random`` returns [0, 1) and spreads the wait after a rate limit.
    """
    answer = read(response, rules, secrets)
    if answer.broken_off:
        hint = f"The response of {login_host} broke off."
        raise _halted(answer, Halt.NETWORK, hint, retry_after=answer.asked_wait())
    if answer.status == 200:
        return _granted(answer, login_host)
    if answer.status == 400 and _is_rate_limit(answer):
        asked = answer.asked_wait()
        spread = _SHORTEST_WAIT + (_LONGEST_WAIT - _SHORTEST_WAIT) * random()
        wait = spread if asked is None else max(asked, _SHORTEST_WAIT)
        raise _halted(answer, Halt.RATE, answer.rate_hint(round(wait, 1)), retry_after=wait)
    if answer.status == 429:
        wait = answer.rate_wait()
        raise _halted(answer, Halt.RATE, answer.rate_hint(wait), retry_after=wait)
    if answer.status == 408 or not 200 <= answer.status <= 499:
        hint = f"The login service {login_host} is down or unreachable."
        raise _halted(answer, Halt.NETWORK, hint, retry_after=answer.asked_wait())
    raise _halted(answer, *_refusal(answer, login_host))


def _granted(answer: Answer, login_host: str) -> Token:
    value = answer.member("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or answer.word("token_type") != "bearer":
        hint = f"No usable token. Is {login_host} the login host? It is normally login.<domain>."
        raise _halted(answer, Halt.CONFIG, hint)
    life = _seconds(answer.member("expires_in"))
    if life is None:
        logger.warning(
            "The token of %s has no valid expires_in; it is used for %d s.", login_host, _FALLBACK_LIFE
        )
    return Token(value, _FALLBACK_LIFE if life is None else life)


def _seconds(value: object) -> float | None:
    """A number or numeric text above 0; None if missing or invalid."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _is_rate_limit(answer: Answer) -> bool:
    """The login service uses 400 instead of 429."""
    descriptions = (answer.word("error_description"), answer.word("description"))
    return answer.word("error") == "invalid_request" and any(
        "rate limit exceeded" in text for text in descriptions
    )


def _refusal(answer: Answer, login_host: str) -> tuple[Halt, str]:
    """Why the login service refuses a token, and what to change."""
    error = answer.word("error")
    if error == "invalid_client" and "not found" not in answer.message.lower():
        return Halt.AUTH, (
            f"Asked {login_host}. Check CLIENT_SECRET first, then CLIENT_ID, and that the client's grant is "
            "Client Credentials. Then check REGION: other regions do not know this client."
        )
    if error == "invalid_client" or answer.status == 401:
        return Halt.AUTH, (
            f"Asked {login_host}. Check REGION first: a client of another region is not found here. Then "
            "CLIENT_ID and CLIENT_SECRET, and that the client's grant is Client Credentials."
        )
    if answer.status == 400 and error == "invalid_scope":
        return Halt.AUTH, "Set SCOPES to []: a Client Credentials client has roles, not scopes."
    if answer.status == 403:
        return Halt.AUTH, (
            f"{login_host} refuses this client. Is it disabled, or is this server's address missing on its "
            "IP allow-list (PROXY changes the address)?"
        )
    if answer.status == 407:
        return Halt.CONFIG, "The proxy requires a login. Put user and password into the URL of PROXY."
    if 300 <= answer.status <= 399:
        return Halt.CONFIG, redirect_hint(answer, "LOGIN_BASE_URL (normally https://login.<domain>)")
    return Halt.CONFIG, (
        f"Asked {login_host}: the token host is normally login.<domain>. Check REGION or LOGIN_BASE_URL, "
        "TOKEN_PATH, and that the client's grant is Client Credentials."
    )


def _halted(answer: Answer, kind: Halt, hint: str, *, retry_after: float | None = None) -> Halted:
    return Halted(
        clean(f"No token: {answer.line(hint)}", ERROR_LIMIT),
        kind=kind.value,
        status_code=answer.status,
        correlation_id=answer.correlation_id,
        retry_after=retry_after,
    )
