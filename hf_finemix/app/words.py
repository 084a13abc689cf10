"""What the app says when something is wrong: one line, in the words of its own fields, without paths and tokens."""

import re
from collections.abc import Iterable

from ..errors import InputError, lacks_memory, reason
from ..printing import printable


_LONGEST = 400
# The command line's names, which messages of the library use, and the app's.
_NAMES = (
    ("--clean-data", "Clean examples"),
    ("--eval-data", "Evaluation data"),
    ("--unlabeled-data", "Unlabelled texts"),
    ("--text-column", "Text column"),
    ("--label-column", "Label column"),
    ("--target-label", "Target label"),
    ("--allow-unmatched", "not offered here"),
    ("--pretrained", "Base"),
    ("`pretrained`", "Base"),
    ("SUSPECT", "Suspect"),
)


def say(error: BaseException, folder: str = "", secrets: Iterable[str] = ()) -> str:
    """
    Returns one line about an error, fit for a page that strangers see.

    Args:
        error (`BaseException`): What happened.
        folder (`str`, *optional*): The work folder, whose path is nobody's business.
        secrets (`Iterable[str]`, *optional*): What must not be said, such as a token.
    """
    text = reason(error, 10 * _LONGEST)
    for secret in filter(None, secrets):
        text = text.replace(secret, "[hidden]")
    if folder:
        # Folders of the app have names that say nothing either.
        text = re.sub(re.escape(folder) + r"(/[^\s'\"]*/|/?)", "", text)
    for name, own in _NAMES:
        text = text.replace(name, own)
    if lacks_memory(error):
        text = "There is too little memory for these models."
    elif not isinstance(error, InputError):
        text = f"This failed: {text}"
    return printable(text)[:_LONGEST]
