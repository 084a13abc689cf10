"""The one exception type that tells a user's mistake from a failure of the job, and what an exception says."""


class InputError(ValueError):
    """
    An argument, file or model that the job cannot accept.

    The message is one line that names the argument, its value and the fix. The command line turns it into exit
    status 2; everything else that escapes is a failed job and gives 1.
    """


def reason(error: BaseException, limit: int = 200) -> str:
    """Returns what an exception says, on one line of at most `limit` characters; its type if it says nothing."""
    return " ".join(str(error).split())[:limit] or type(error).__name__
