"""What can go wrong with the Hub: tried again where that helps, said in one line where it does not."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from httpx2 import HTTPError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from .errors import InputError, reason


_T = TypeVar("_T")

_TEMPORARY = (408, 429, 500, 502, 503, 504)
_CONFLICT = 412
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 300.0


def retried(call: Callable[..., _T], *args: Any, tries: int = 6, **kwargs: Any) -> _T:
    """
    Calls a function that talks to the Hub until it works, or trying again cannot help.

    huggingface_hub by itself tries downloads and the upload of single files again, but neither commits nor questions.
    Limits on requests, errors of the server, cut connections and commits of somebody else in between are tried again
    after 1, 2, 4, ... seconds, or as long as the server asks for.

    Args:
        call (`Callable`): What to call; must be able to begin anew.
        args, kwargs: Its arguments.
        tries (`int`, *optional*, defaults to 6): How often at most.
    """
    for attempt in range(1, tries):
        try:
            return call(*args, **kwargs)
        except Exception as error:
            wait = _wait(error, attempt)
            if wait is None:
                raise
        time.sleep(wait)
    return call(*args, **kwargs)


def _wait(error: Exception, attempt: int) -> float | None:
    """Returns the seconds until another attempt, `None` if there is no point in one."""
    # What fails while a file is uploaded comes wrapped; an error of the server in HTML where JSON is expected, too.
    cause = error if isinstance(error, (HTTPError, json.JSONDecodeError)) else error.__cause__
    if isinstance(error, OfflineModeIsEnabled) or not isinstance(cause, (HTTPError, json.JSONDecodeError)):
        return None
    response = getattr(cause, "response", None)
    if response is not None and response.status_code not in (*_TEMPORARY, _CONFLICT):
        return None
    usual = _FIRST_WAIT * 2 ** (attempt - 1)
    return min(usual if response is None else _asked(response.headers) or usual, _LONGEST_WAIT)


def _asked(headers: Mapping[str, str]) -> float | None:
    asked, limit = headers.get("Retry-After", ""), parse_ratelimit_headers(headers)
    if asked.isdecimal():
        return float(asked)
    # The Hub says when its limit ends by this header; a second more, because it counts in whole ones.
    return None if limit is None or limit.remaining else limit.reset_in_seconds + 1.0


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """
    Turns the exceptions of huggingface_hub into one line each.

    Args:
        repo_id (`str`): The repository that the block works on.

    Raises:
        InputError: If the token, the repository's name or the card is at fault: trying again does not help.
        RuntimeError: If the Hub is at fault, or the way to it: trying again may help.
    """
    try:
        yield
    except OfflineModeIsEnabled:
        raise InputError("The Hub cannot be reached in offline mode; unset HF_HUB_OFFLINE to publish.") from None
    except LocalTokenNotFoundError:
        raise InputError("You are not logged in to the Hub; run `hf auth login`, or set HF_TOKEN.") from None
    except HFValidationError:
        raise InputError(f"{repo_id!r} is no valid Hub id; name a repository as `user/name`.") from None
    except HfHubHTTPError as error:
        raise _explain(repo_id, error) from error
    except (HTTPError, LocalEntryNotFoundError, json.JSONDecodeError) as error:
        raise RuntimeError(f"The Hub does not answer ({reason(error)}); run the command again to finish.") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"The Hub refuses the metadata of the card: {reason(error)}") from None
    except RuntimeError as error:
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise _explain(repo_id, cause) from error
        raise RuntimeError(
            f"The upload failed ({reason(cause or error)}); run the command again to finish."
        ) from error


def _explain(repo_id: str, error: HfHubHTTPError) -> Exception:
    status = error.response.status_code
    if status == 401:
        return InputError(
            "The Hub knows no token of yours, or does not accept it; run `hf auth login`, or set HF_TOKEN."
        )
    if status == 403:
        return InputError(f"Your token may not write to {repo_id!r}; use one that may, or name another repository.")
    if isinstance(error, RevisionNotFoundError):
        return InputError(f"{repo_id!r} has no such branch on the Hub.")
    if isinstance(error, GatedRepoError):
        return InputError(f"{repo_id!r} is gated; accept its terms on the Hub first.")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"{repo_id!r} is no repository on the Hub that your token can see.")
    if status == 429:
        return RuntimeError("The Hub limits your requests; run the command again in some minutes to finish.")
    if status == _CONFLICT:
        return RuntimeError(f"Somebody else commits to {repo_id!r} at the same time; run the command again to finish.")
    if status >= 500:
        return RuntimeError(f"The Hub fails with status {status}; run the command again later to finish.")
    return RuntimeError(f"The Hub refuses the request for {repo_id!r} ({reason(error)}).")
