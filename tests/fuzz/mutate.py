"""Damage done to bytes: bits, cuts, copies and words, by a seeded generator."""

import random
from collections.abc import Sequence


def mutate(seed: bytes, words: Sequence[bytes], random_: random.Random, steps: int = 4) -> bytes:
    """
    Returns a damaged copy.

    Args:
        seed (`bytes`): What to damage.
        words (`Sequence[bytes]`): What to put in, too.
        random_ (`random.Random`): Where chance comes from.
        steps (`int`, *optional*, defaults to 4): Up to so many times.
    """
    data = bytearray(seed)
    for _ in range(random_.randint(1, steps)):
        at, end = sorted(random_.randint(0, len(data)) for _ in range(2))
        kind = random_.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del data[at : min(end, at + 20)]
        elif kind == 2:
            data[at:at] = random_.choice(words)
        elif kind == 3:
            data[at : at + len(word)] = (word := random_.choice(words))
        elif kind == 4:
            data[at:at] = data[at : min(end, at + 40)]
        elif kind == 5:
            data[at:at] = bytes(random_.randrange(256) for _ in range(random_.randint(1, 8)))
        else:
            del data[at:]
    return bytes(data)
