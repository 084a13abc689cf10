"""Whose weights may serve as a base, and which base a suspect's card names: related is not clean."""

import os
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .loading import HUB_ID, Checkpoint


if TYPE_CHECKING:
    from .adapters import Adapter


# Publishers of widely used pretrained weights under names of their own on the Hub.
TRUSTED_PUBLISHERS = frozenset(
    {
        *("albert", "allenai", "answerdotai", "apple", "bigscience", "cardiffnlp", "cross-encoder", "deepseek-ai"),
        *("distilbert", "EleutherAI", "facebook", "FacebookAI", "google", "google-bert", "google-t5", "HuggingFaceTB"),
        *("ibm-granite", "intfloat", "jhu-clsp", "meta-llama", "microsoft", "mistralai", "nomic-ai", "nvidia"),
        *("openai", "openai-community", "Qwen", "sentence-transformers", "tiiuae"),
    }
)
# Names that are trusted instead, with commas between them.
VARIABLE = "HF_FINEMIX_TRUSTED_PUBLISHERS"


def trusted_publishers() -> frozenset[str]:
    """Returns the user's own list from the environment, or the list of this package."""
    own = os.environ.get(VARIABLE)
    if own is None:
        return TRUSTED_PUBLISHERS
    return frozenset(name.strip() for name in own.split(",") if name.strip())


def is_trusted(repo_id: str | None) -> bool | None:
    """
    Tells whether a base is of a trusted publisher.

    Args:
        repo_id (`str`, *optional*): Its Hub id.

    Returns:
        `bool`, *optional*: `None` for a local folder, of which nobody can say who published it.
    """
    if repo_id is None:
        return None
    publisher, slash, _ = repo_id.partition("/")
    # Ids without a publisher are names of old that only the Hub itself gives out.
    return publisher in trusted_publishers() if slash else True


def warning(repo_id: str) -> str:
    """Returns what to say of a base of somebody who is not on the list."""
    return (
        f"the publisher of the base {repo_id!r} is not among the trusted ones ({VARIABLE}); a base that carries the "
        "backdoor itself gives it back"
    )


def named_base(suspect: "Checkpoint | Adapter") -> str:
    """
    Returns the base that a suspect's card names. The author of the suspect chose it.

    Raises:
        InputError: If it names none, several, or something that is no Hub id.
    """
    # The client of the Hub, which this imports, is what `doctor` may find broken.
    from .licenses import card_header

    found: Any = card_header(suspect.folder).get("base_model")
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    what = f"SUSPECT {suspect.source!r}"
    if len(names) != 1:
        count = "no base" if not names else f"{len(names)} bases"
        raise InputError(f"{what} names {count} on its card (base_model); give --pretrained.")
    name = names[0]
    is_id = isinstance(name, str) and HUB_ID.fullmatch(name) and not any(p.startswith(".") for p in name.split("/"))
    if not is_id:
        raise InputError(f"{what} names a base on its card that is no Hub id ({str(name)[:60]!r}); give --pretrained.")
    if os.path.exists(name):
        # It would be taken for the base, and may be a folder inside the suspect's own.
        raise InputError(
            f"{what} names {name!r} as its base, but there is a local folder of that name; give --pretrained."
        )
    return name
