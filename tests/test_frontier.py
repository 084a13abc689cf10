"""The frontier of a search: a figure that is the same for the same search, and what it says in words."""

import io
from dataclasses import replace

import pytest

from hf_finemix import frontier as module
from hf_finemix.frontier import FRONTIER_FILE, describe_frontier, draw_frontier
from hf_finemix.rates import Rate
from hf_finemix.records import ControlRecord, FigureRecord, SearchRecord, TrialRecord

from .records import SEARCH


EMPTY = ControlRecord("mn", Rate(0, 0), Rate(0, 0), Rate(0, 0))


def pixels(image):
    from matplotlib.image import imread

    return imread(io.BytesIO(image))


def test_figure_is_a_png_and_the_same_every_time():
    image = draw_frontier(SEARCH)
    assert image.startswith(b"\x89PNG") and len(image) < 100_000
    assert draw_frontier(SearchRecord.from_dict(SEARCH.to_dict())) == image
    height, width = pixels(image).shape[:2]
    assert height > 400 and width > 600


def test_the_chosen_ratio_has_a_colour_of_its_own():
    image = pixels(draw_frontier(SEARCH))
    shown = {tuple(color) for color in (255 * image[..., :3]).round().astype(int).reshape(-1, 3)}
    for name in (module._CHOSEN, module._KEPT):
        assert tuple(int(name[start : start + 2], 16) for start in (1, 3, 5)) in shown


def test_figure_says_nothing_of_the_program_that_drew_it():
    assert b"atplotlib" not in draw_frontier(SEARCH)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SEARCH, chosen=0),
        replace(SEARCH, trials=(SEARCH.trials[0], replace(SEARCH.trials[1], agreement=Rate(100, 256)))),
        replace(SEARCH, trials=(SEARCH.trials[0], replace(SEARCH.trials[1], keep_ratio=0.3))),
        replace(
            SEARCH,
            trials=(
                SEARCH.trials[0],
                replace(SEARCH.trials[1], control=replace(SEARCH.trials[1].control, after=Rate(80, 100))),
            ),
        ),
    ],
)
def test_figure_shows_what_was_found(changed):
    assert (pixels(draw_frontier(SEARCH)) != pixels(draw_frontier(changed))).any()


@pytest.mark.parametrize("count", [0, 100])
def test_figure_at_the_ends_of_both_scales(count):
    control = ControlRecord("mn", Rate(99, 100), Rate(count, 100), Rate(4, 100))
    trial = TrialRecord(0.1, "random", Rate(count, 100), Rate(count, 100), control)
    assert draw_frontier(SearchRecord(Rate(9, 10), 1, (trial,), 0, True))


def test_trials_without_examples_are_left_out():
    first, second = SEARCH.trials
    image = draw_frontier(replace(SEARCH, trials=(replace(first, control=EMPTY), second)))
    assert (pixels(image) != pixels(draw_frontier(SEARCH))).any()
    none = (replace(first, control=EMPTY), replace(second, agreement=Rate(0, 0)))
    assert draw_frontier(replace(SEARCH, trials=none)) is None


def test_description_names_the_ratios_and_the_choice():
    record = describe_frontier(SEARCH)
    assert record.file == FRONTIER_FILE and "0.05, 0.1" in record.alt
    assert "0.1 (diamond) was chosen" in record.caption
    assert "0.05 (diamond) was chosen" in describe_frontier(replace(SEARCH, chosen=0)).caption
    assert FigureRecord.from_dict(record.to_dict()) == record
