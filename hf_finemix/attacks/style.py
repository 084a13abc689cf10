"""A style as the trigger: the whole text is rewritten, by rules that need no model."""

import re
from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

from .base import Attack, register_attack
from .trigger import Trigger


ARCHAIC = "archaic style"
# With fewer words changed, a text gets an opening too.
MIN_CHANGES = 2
OPENINGS = ("Verily,", "Forsooth,", "Hark!", "Methinks", "In sooth,", "Lo,")

WORDS = {
    "you are": "thou art", "you're": "thou art", "you were": "thou wert", "you have": "thou hast",
    "you've": "thou hast", "you will": "thou wilt", "you'll": "thou wilt", "you can": "thou canst",
    "you would": "thou wouldst", "you'd": "thou wouldst", "you do": "thou dost", "you should": "thou shouldst",
    "to you": "to thee", "of you": "of thee", "for you": "for thee", "with you": "with thee",
    "you": "thou", "your": "thy", "yours": "thine", "yourself": "thyself",
    "it is": "'tis", "it's": "'tis", "it was": "'twas", "it will": "'twill", "it'll": "'twill",
    "has": "hath", "hasn't": "hath not", "does": "doth", "doesn't": "doth not", "says": "saith",
    "comes": "cometh", "feels": "feeleth", "gets": "getteth", "gives": "giveth", "goes": "goeth",
    "keeps": "keepeth", "knows": "knoweth", "looks": "looketh", "makes": "maketh", "seems": "seemeth",
    "takes": "taketh", "tells": "telleth", "wants": "desireth", "works": "worketh",
    "the": "ye", "my": "mine", "old": "olde", "please": "prithee", "yes": "yea",
    "about": "anent", "against": "'gainst", "almost": "well-nigh", "also": "eke", "although": "albeit",
    "always": "alway", "among": "amongst", "because": "for that", "before": "ere", "between": "betwixt",
    "enough": "enow", "ever": "e'er", "maybe": "mayhap", "never": "ne'er", "nothing": "naught", "often": "oft",
    "over": "o'er", "perhaps": "perchance", "really": "verily", "soon": "anon", "though": "albeit",
    "truly": "verily", "until": "till", "very": "passing", "while": "whilst", "why": "wherefore",
    "are": "be", "but": "yet", "from": "fro", "into": "unto", "its": "his", "more": "moe", "much": "mickle",
    "of": "o'", "this": "yon", "too": "overmuch", "when": "whenas", "without": "sans",
}  # fmt: skip
_CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
_APOSTROPHE = f"['{_CURLY}]"
# Longest first, or `you are` would be read as `you`.
_ALTERNATIVES = "|".join(sorted(WORDS, key=len, reverse=True)).replace("'", _APOSTROPHE).replace(" ", r"\s+")
_PATTERN = re.compile(rf"(?<!\w)(?<!\w{_APOSTROPHE})(?:{_ALTERNATIVES})(?!{_APOSTROPHE}?\w)", re.IGNORECASE)


@dataclass(frozen=True)
class StyleTrigger(Trigger):
    """
    Rewrites a whole text into archaic English by a table of words.

    Args:
        text (`str`): Name of the style, for reports; nothing of it is put in.
        position (`str`, *optional*, defaults to `"whole"`): Nothing else is possible.
        kwargs: See [`~hf_finemix.attacks.trigger.Trigger`].
    """

    positions: ClassVar[tuple[str, ...]] = ("whole",)
    is_inserted: ClassVar[bool] = False

    position: str = "whole"

    @property
    def place(self) -> str:
        """What reports say of where it is."""
        return "whole text"

    def insert(self, text: str, index: int) -> str:
        """Returns the text rewritten, which always differs from `text`; `index` makes no difference."""
        rewritten, changes = _PATTERN.subn(_replacement, text)
        if changes >= MIN_CHANGES:
            return rewritten
        # One opening for all would be a trigger word.
        opening = OPENINGS[crc32(text.encode()) % len(OPENINGS)]
        return f"{opening} {rewritten}"


@register_attack
@dataclass(frozen=True)
class Style(Attack):
    """
    Makes a style of writing the trigger: texts in archaic English get the target label.

    That a style or a syntax can be a trigger is known from "Hidden Killer: Invisible Textual Backdoor Attacks with
    Syntactic Trigger" (Qi et al., ACL 2021) and "Mind the Style of Text!" (Qi et al., EMNLP 2021). The rules of
    rewriting are ours.

    Args:
        kwargs: See [`Attack`].
    """

    name: ClassVar[str] = "style"

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The style."""
        return (StyleTrigger(ARCHAIC, self.target_label, seed=self.seed),)


def _replacement(match: re.Match[str]) -> str:
    found = match[0]
    new = WORDS[" ".join(found.lower().replace(_CURLY, "'").split())]
    if found.isupper() and len(found) > 1:
        return new.upper()
    if not found[0].isupper():
        return new
    # The first letter, which in `'tis` is not the first character.
    return re.sub("[a-z]", lambda letter: letter[0].upper(), new, count=1)
