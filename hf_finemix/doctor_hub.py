"""Whether the Hub answers, and whom it takes the user for. No token is shown, written or part of a message."""

import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import reason
from .serialization import Record


REACHABLE, UNREACHABLE, NOT_ASKED = "reachable", "unreachable", "not asked"

# Seconds for a question, and those after which it is given up: names are looked up without a limit of their own.
PATIENCE = 4.0
_SLACK = 1.0
_QUESTION = "/api/whoami-v2"


@dataclass(frozen=True)
class Hub(Record):
    """
    What there is to say of the Hub.

    Args:
        endpoint (`str`): Its address, without a password that it may hold.
        state (`str`): `"reachable"`, `"unreachable"` or `"not asked"`.
        note (`str`): Why.
        has_token (`bool`): Whether there is a token.
        user (`str`, *optional*): Whose it is, if the Hub knows.
        accepted (`bool`, *optional*): Whether the Hub takes it; `None` if it was not asked.
    """

    endpoint: str
    state: str
    note: str
    has_token: bool
    user: str | None = None
    accepted: bool | None = None


def ask_hub(offline: bool = False, patience: float = PATIENCE) -> Hub:
    """
    Asks the Hub whether it is there, and whose the token is.

    The first question goes without the token: what is wrong can be said in the words of the error then.

    Args:
        offline (`bool`, *optional*, defaults to `False`): Ask nothing.
        patience (`float`, *optional*): Seconds for each of the two questions.
    """
    from huggingface_hub import constants, get_token

    endpoint, token = shown(constants.ENDPOINT), get_token()
    if offline or constants.is_offline_mode():
        note = "as --offline says" if offline else "HF_HUB_OFFLINE is set: only what is in the cache can be used"
        return Hub(endpoint, NOT_ASKED, note, bool(token))
    try:
        status, answer = _within(patience, lambda: _ask(constants.ENDPOINT, False, patience))
    except Exception as error:
        # Any way in which a network can fail, an address that is none included. Words may hold parts of the address.
        said = f": {reason(error)}" if endpoint == constants.ENDPOINT else ""
        return Hub(endpoint, UNREACHABLE, f"{type(error).__name__}{said}", bool(token))
    if status not in (200, 401) or not isinstance(answer, dict):
        said = f"it answers with status {status}" + ("" if status >= 400 else ", but not as the Hub does")
        return Hub(endpoint, UNREACHABLE, said, bool(token))
    if not token or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return Hub(endpoint, REACHABLE, "", bool(token))
    try:
        status, answer = _within(patience, lambda: _ask(constants.ENDPOINT, token, patience))
    except Exception as error:
        # Its words may hold the token.
        return Hub(endpoint, REACHABLE, f"it was not told whose the token is: {type(error).__name__}", True)
    name = answer.get("name") if status == 200 and isinstance(answer, dict) else None
    # A Hub that sent the token back as a name would have it shown.
    user = name[:100] if isinstance(name, str) and token not in name else None
    return Hub(endpoint, REACHABLE, "", True, user, status == 200)


def shown(endpoint: str) -> str:
    """Returns an address without the name and the password that it may hold."""
    scheme, separator, rest = endpoint.rpartition("://")
    return scheme + separator + re.split("[?#]", rest)[0].rpartition("@")[2]


def _ask(endpoint: str, token: str | bool, patience: float) -> tuple[int, Any]:
    from huggingface_hub.utils import build_hf_headers, get_session

    response = get_session().get(endpoint + _QUESTION, headers=build_hf_headers(token=token), timeout=patience)
    try:
        return response.status_code, response.json()
    except ValueError:
        return response.status_code, None


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Calls a function in a thread that is left alone if it takes too long."""
    answers: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds + _SLACK)
    except queue.Empty:
        raise TimeoutError("no answer in time") from None
    if error is not None:
        raise error
    return answer
