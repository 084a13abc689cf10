"""Whether the Hub answers, and whom it takes the user for. No token is shown, written or part of a message."""

import os
import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from .errors import reason
from .serialization import Record


REACHABLE, UNREACHABLE, NOT_ASKED = "reachable", "unreachable", "not asked"

# Seconds for a question, and those after which it is given up: names are looked up without a limit of their own.
PATIENCE = 4.0
_SLACK = 1.0
_QUESTION = "/api/whoami-v2"
# What the client takes for whole numbers when it is imported.
_NUMBERS = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")


@dataclass(frozen=True)
class Hub(Record):
    """
    What there is to say of the Hub.

    Args:
        endpoint (`str`): Its address, without a password that it may hold.
        state (`str`): `"reachable"`, `"unreachable"` or `"not asked"`.
        note (`str`): Why.
        has_token (`bool`): Whether there is a token that can be read.
        user (`str`, *optional*): Whose it is, if the Hub knows.
        accepted (`bool`, *optional*): Whether the Hub takes it; `None` if it was not asked.
        problem (`str`): What keeps the token from being read, and what to do.
    """

    endpoint: str
    state: str
    note: str
    has_token: bool
    user: str | None = None
    accepted: bool | None = None
    problem: str = ""


def problem_of_client() -> str:
    """Returns a sentence that says why the Hub's client cannot be imported; an empty one if it can."""
    try:
        from huggingface_hub import constants, get_token  # noqa: F401
    except ValueError:
        return _of_variables()
    except (ImportError, OSError) as error:
        return f"huggingface_hub cannot be imported ({reason(error)}); install it anew."
    return ""


def _of_variables() -> str:
    # The client reads them when it is imported. Their values, which its error quotes, may hold a password.
    try:
        urlsplit(os.environ.get("HF_ENDPOINT", ""))
    except ValueError:
        return "HF_ENDPOINT holds something that is no address; set it to that of your Hub, or unset it."
    for name in _NUMBERS:
        try:
            int(os.environ.get(name, "0"))
        except ValueError:
            return f"{name} holds something that is no whole number; set it to one, or unset it."
    return "huggingface_hub cannot read one of the variables whose names begin with HF_; unset them one by one."


def ask_hub(offline: bool = False, patience: float = PATIENCE) -> Hub:
    """
    Asks the Hub whether it is there, and whose the token is.

    The first question goes without the token: what is wrong can be said in the words of the error then.

    Args:
        offline (`bool`, *optional*, defaults to `False`): Ask nothing.
        patience (`float`, *optional*): Seconds for each of the two questions.
    """
    from huggingface_hub import constants, get_token

    endpoint, token, problem = shown(constants.ENDPOINT), None, ""
    try:
        token = get_token()
    except Exception as error:
        # A file or a service that gives it can fail in any way.
        problem = _of_token(error, constants.HF_TOKEN_PATH)
    if offline or constants.is_offline_mode():
        note = "as --offline says" if offline else "HF_HUB_OFFLINE is set: only what is in the cache can be used"
        return Hub(endpoint, NOT_ASKED, note, bool(token), problem=problem)
    try:
        status, answer = _within(patience, lambda: _ask(constants.ENDPOINT, False, patience))
    except Exception as error:
        # Any way in which a network can fail, an address that is none included. Its words may hold parts of the
        # address, or of that of a proxy.
        secret = endpoint != constants.ENDPOINT or any("@" in address for address in getproxies().values())
        said = "" if secret else f": {reason(error)}"
        return Hub(endpoint, UNREACHABLE, f"{type(error).__name__}{said}", bool(token), problem=problem)
    if status not in (200, 401) or not isinstance(answer, dict):
        said = f"it answers with status {status}" + ("" if status >= 400 else ", but not as the Hub does")
        return Hub(endpoint, UNREACHABLE, said, bool(token), problem=problem)
    if not token or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return Hub(endpoint, REACHABLE, "", bool(token), problem=problem)
    try:
        status, answer = _within(patience, lambda: _ask(constants.ENDPOINT, token, patience))
    except Exception as error:
        # Its words may hold the token.
        return Hub(endpoint, REACHABLE, f"it was not told whose the token is: {type(error).__name__}", True)
    name = answer.get("name") if status == 200 and isinstance(answer, dict) else None
    # A Hub that sent the token back as a name would have it shown.
    user = name[:100] if isinstance(name, str) and token not in name else None
    return Hub(endpoint, REACHABLE, "", True, user, status == 200)


def _of_token(error: Exception, path: str) -> str:
    # Its words may hold what was read. A service, if one is named, is asked before all else.
    if os.environ.get("HF_OIDC_RESOURCE"):
        return f"There is no token for HF_OIDC_RESOURCE ({type(error).__name__}); unset it, or set HF_OIDC_ID_TOKEN."
    why = "it is not UTF-8" if isinstance(error, UnicodeError) else getattr(error, "strerror", None)
    name = "HF_TOKEN_PATH" if "HF_TOKEN_PATH" in os.environ else "HF_HOME"
    return (
        f"The token in {path} cannot be read ({why or type(error).__name__}); move away what is there and run "
        f"`hf auth login`, set {name} to another place, or set HF_TOKEN."
    )


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
