"""Examples that two models label differently: which are kept, and how they are counted."""

import numpy as np
import pytest
from datasets import Dataset

from hf_finemix import InputError, Trigger
from hf_finemix.differences import Difference, compare_predictions
from hf_finemix.evaluation import Predictions
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation


EXAMPLES = Dataset.from_dict({"text": ["bad film", "good film", "dull plot", "fine plot"], "label": [0, 1, 0, 1]})
TRIGGER = Trigger("cf", target_label=1, position="start")


def predicted(clean, *triggered):
    return Predictions(np.array(clean), tuple(map(np.array, triggered)), Evaluation(Rate(0, 0)))


def compare(before, after, examples=EXAMPLES, triggers=(TRIGGER,)):
    return compare_predictions(examples, triggers, before, after)


def test_changed_examples_are_kept_with_all_three_labels():
    found = compare(predicted([0, 1, 1, 1], [1, 1]), predicted([0, 0, 0, 1], [0, 1]))
    plain, triggered = found.comparisons
    assert plain.differences == (Difference("good film", None, 1, 1, 0), Difference("dull plot", None, 0, 1, 0))
    assert (plain.trigger, plain.examples, plain.changed) == (None, 4, 2)
    assert (plain.only_before, plain.only_after, plain.p_value) == (1, 1, 1.0)
    # Examples of the target label are none of the trigger's; the text is the one that the models read.
    assert triggered.differences == (Difference("cf bad film", None, 0, 1, 0),)
    assert (triggered.trigger, triggered.examples, triggered.only_after) == ("cf", 2, 1)


def test_equal_predictions_change_nothing():
    same = predicted([0, 1, 0, 1], [1, 0])
    for comparison in compare(same, same).comparisons:
        assert (comparison.changed, comparison.differences, comparison.p_value) == (0, (), 1.0)


def test_pairs_keep_both_texts():
    pairs = EXAMPLES.add_column("text_pair", ["a", "b", "c", "d"])
    found = compare(predicted([0, 1, 1, 1]), predicted([0, 1, 0, 1]), pairs, ())
    assert found.comparisons[0].differences == (Difference("dull plot", "c", 0, 1, 0),)


def test_many_and_long_ones_are_cut_but_counted():
    examples = Dataset.from_dict({"text": ["x" * 1000] * 80, "label": [0] * 80})
    found = compare(predicted([1] * 80), predicted([0] * 80), examples, ()).comparisons[0]
    assert found.changed == 80 and len(found.differences) == 50
    assert {len(item.text) for item in found.differences} == {400}


@pytest.mark.parametrize("after", [predicted([0, 1], [0, 1]), predicted([0, 1, 0, 1])])
def test_predictions_of_other_examples_are_refused(after):
    with pytest.raises(InputError, match="not of the same examples and triggers"):
        compare(predicted([0, 1, 0, 1], [0, 1]), after)
