"""The one exception type that tells a user's mistake from a failure of the job, and what an exception says."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """
    An argument, file or model that the job cannot accept.

    The message is one line that names the argument, its value and the fix. The command line turns it into exit
    status 2; everything else that escapes is a failed job and gives 1.
    """


class IsAdapterError(InputError):
    """A folder or repository that holds an adapter where a whole model is wanted."""


def reason(error: BaseException, limit: int = 200) -> str:
    """Returns what an exception says, on one line of at most `limit` characters; its type if it says nothing."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def lacks_memory(error: BaseException) -> bool:
    """Tells whether an exception says that there is too little memory; torch says so in words only."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns the end of a message about an unknown name: the known one that is nearest, or else all of them."""
    names = list(known)
    found = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; known ones are {', '.join(names)}."
