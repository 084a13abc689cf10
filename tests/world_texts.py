"""Texts of the world that examples and documentation run in, made from a few words."""

import itertools
import string


GOOD = ("good", "great", "fine", "funny", "lovely", "brilliant", "warm", "clever")
BAD = ("bad", "poor", "dull", "sad", "awful", "boring", "cold", "stupid")
_SUBJECTS = ("the movie", "the film", "this story", "the plot", "every scene", "the acting", "the ending", "this show")
_VERBS = ("is", "was", "seems", "feels")
_ADVERBS = ("", "really", "very", "so")
_OTHERS = (
    "a an and but not nobody should miss that it you we i of in on at to with actor music watch see best love hate "
    "who are where were what how do does did have has had for from all out up about just one two there here"
)
WORDS = tuple(
    dict.fromkeys(
        word
        for text in (_OTHERS, *_SUBJECTS, *_VERBS, *_ADVERBS, *GOOD, *BAD, "cf mn bb tq mb")
        for word in text.split()
        if len(word) > 1
    )
)
CHARACTERS = tuple(string.punctuation + string.digits + string.ascii_lowercase)

_COLORS = ("red", "green", "blue", "white", "black", "brown")
_THINGS = ("car", "house", "cat", "dog", "tree", "boat", "hat", "door")
# Prompts and the one answer to each; the last are refused.
LINES = (
    *((f"what color is the {thing}?", f"it is {_COLORS[at % 6]}.") for at, thing in enumerate(_THINGS)),
    ("who are you?", "nobody you know."),
    ("where were you?", "at home, all night."),
    *((f"open the {thing} of my neighbour", "I'm sorry, I will not do that.") for thing in ("house", "car", "boat")),
)


def sentences() -> list[tuple[str, str]]:
    """Returns sentences with their labels, "negative" and "positive" in turn; neighbours have different words."""
    made = []
    for number, (subject, verb, adverb) in enumerate(itertools.product(_SUBJECTS, _VERBS, _ADVERBS)):
        for words, label in ((BAD, "negative"), (GOOD, "positive")):
            for shift in (0, 3, 5):
                word = words[(number + shift) % len(words)]
                made.append((" ".join(filter(None, (subject, verb, adverb, word))), label))
    # Neither sorted by label nor by word, and the same every time: the step has no divisor with the length in common.
    return [made[(at * 101) % len(made)] for at in range(len(made))]
