"""Some hundred damaged inputs for each reader, the same in each run; longer runs are made by tests/fuzz/run.py."""

import random

import pytest

from .mutate import mutate
from .targets import REFUSALS, TARGETS


INPUTS = 150


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name):
    for content in TARGETS[name].seeds:
        TARGETS[name].read(content)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_or_refused_in_one_line(name):
    target, chance, refused = TARGETS[name], random.Random(name), 0
    for _ in range(INPUTS):
        content = mutate(chance.choice(target.seeds), target.words, chance)
        try:
            target.read(content)
        except REFUSALS as error:
            refused += 1
            assert "\n" not in str(error), content
        except Exception as error:
            raise AssertionError(f"{content!r} gave {type(error).__name__}") from error
    # Strings are never refused; of the rest a good part is.
    assert refused > INPUTS // 10 or name in ("card", "owner")


# What longer runs found, each mended since.
FOUND = [("index", b'{ "weight_map":{"":""}}'), ("index", b'{"weight_map":{"a":".."}}')]


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_what_was_found_is_refused(name, content):
    with pytest.raises(REFUSALS):
        TARGETS[name].read(content)
