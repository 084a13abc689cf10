import math

import evaluate
import numpy as np
import pytest
from transformers import EvalPrediction

from hf_finemix.errors import InputError
from hf_finemix.metrics import (
    AttackSuccessRate,
    CleanAccuracy,
    FlipRate,
    Rate,
    RobustAccuracy,
    accuracy,
    attack_success_rate,
    compute_metrics,
    flip_rate,
    make_compute_metrics,
    mcnemar,
    robust_accuracy,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_interval_known_values(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_ends_are_exact():
    for n in range(1, 200):
        assert wilson_interval(0, n)[0] == 0.0
        assert wilson_interval(n, n)[1] == 1.0


def test_wilson_interval_is_symmetric_and_grows_with_confidence():
    low, high = wilson_interval(3, 20)
    assert wilson_interval(17, 20) == pytest.approx((1 - high, 1 - low))
    wide_low, wide_high = wilson_interval(3, 20, confidence=0.99)
    assert wide_low < low < 3 / 20 < high < wide_high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "`n` is 0, but must be an integer at least 1"),
        ((3, 2), "`successes` is 3, but must be an integer from 0 to 2"),
        ((-1, 2), "`successes` is -1"),
        ((1, 2, 1.0), "`confidence` is 1.0, but must lie strictly between 0 and 1"),
        ((1, 2, math.nan), "`confidence` is nan"),
    ],
)
def test_wilson_interval_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        wilson_interval(*arguments)


def test_rate():
    rate = Rate(successes=8, n=10)
    assert rate.value == 0.8
    assert (rate.low, rate.high) == wilson_interval(8, 10)
    assert str(rate) == "80.0 % [49.0, 94.3] (n=10)"
    assert rate.to_dict() == {"value": 0.8, "low": rate.low, "high": rate.high, "successes": 8, "n": 10}
    assert Rate.from_dict(rate.to_dict()) == rate


def test_rate_without_examples_is_no_number():
    rate = Rate(successes=0, n=0)
    assert rate.to_dict() == {"value": None, "low": None, "high": None, "successes": 0, "n": 0}
    assert str(rate) == "no examples"
    assert Rate.from_dict(rate.to_dict()) == rate


def test_rate_refuses_more_successes_than_examples():
    with pytest.raises(InputError, match="`successes` is 1, but must be an integer from 0 to 0"):
        Rate(successes=1, n=0)


def test_counts():
    references = np.array([0, 0, 0, 0, 1, 1, 2])
    clean = np.array([0, 0, 1, 2, 1, 0, 2])
    triggered = np.array([1, 0, 1, 2, 1, 1, 1])
    assert accuracy(clean, references) == Rate(4, 7)
    # Rows 4 and 5 have the target label.
    assert attack_success_rate(triggered, references, 1) == Rate(3, 5)
    assert robust_accuracy(triggered, references, 1) == Rate(1, 5)
    # Rows 0, 1 and 6 are right without the trigger, 0 and 6 flip.
    assert flip_rate(clean, triggered, references, 1) == Rate(2, 3)


def test_a_trigger_without_effect():
    references = np.array([0, 1, 0, 1])
    assert attack_success_rate(references, references, 1) == Rate(0, 2)
    assert robust_accuracy(references, references, 1) == Rate(2, 2)
    assert flip_rate(references, references, references, 1) == Rate(0, 2)


def test_only_target_examples_leave_nothing_to_count():
    ones = np.ones(3, dtype=int)
    assert attack_success_rate(ones, ones, 1).value is None
    assert robust_accuracy(ones, ones, 1).value is None
    assert flip_rate(ones, ones, ones, 1).value is None
    assert accuracy([], []).value is None


def test_counts_are_plain_integers():
    rate = accuracy(np.array([1]), np.array([1]))
    assert type(rate.successes) is int and type(rate.n) is int


@pytest.mark.parametrize(
    "count",
    [
        lambda a, b: accuracy(a, b),
        lambda a, b: attack_success_rate(a, b, 1),
        lambda a, b: robust_accuracy(a, b, 1),
        lambda a, b: flip_rate(a, a, b, 1),
        lambda a, b: mcnemar(a, b),
    ],
)
def test_counts_refuse_other_shapes(count):
    with pytest.raises(InputError, match=r"\(3,\).*\(2,\), but must be one-dimensional and of one length"):
        count([0, 1, 1], [0, 1])
    with pytest.raises(InputError, match=r"\(2, 2\)"):
        count([[0, 1], [1, 0]], [[0, 1], [1, 0]])


def test_attack_success_rate_needs_a_label_id():
    with pytest.raises(InputError, match="`target_label` is None, but must be an integer at least 0"):
        attack_success_rate([0], [0], None)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"), [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (6, 6, 1.0)]
)
def test_mcnemar(only_a, only_b, p_value):
    right_a = [True] * only_a + [False] * only_b + [True, False]
    right_b = [False] * only_a + [True] * only_b + [True, False]
    assert mcnemar(right_a, right_b) == {"b": only_a, "c": only_b, "p_value": pytest.approx(p_value)}
    assert mcnemar(right_b, right_a)["p_value"] == pytest.approx(p_value)


def test_mcnemar_with_more_pairs_than_a_float_can_hold():
    right = np.arange(3000) < 1500
    assert mcnemar(right, ~right)["p_value"] == 1.0


def test_attack_success_rate_metric():
    result = AttackSuccessRate().compute(predictions=[1, 1, 0, 1], references=[0, 0, 0, 1], target_label=1)
    low, high = wilson_interval(2, 3)
    assert result == {
        "attack_success_rate": pytest.approx(2 / 3),
        "attack_success_rate_low": pytest.approx(low),
        "attack_success_rate_high": pytest.approx(high),
        "attack_success_rate_n": 3,
    }


def test_target_label_at_construction_and_at_compute():
    metric = AttackSuccessRate(target_label=1)
    predictions, references = [1, 1, 0, 1], [0, 0, 0, 1]
    assert metric.compute(predictions=predictions, references=references)["attack_success_rate_n"] == 3
    assert metric.compute(predictions=predictions, references=references, target_label=0)["attack_success_rate_n"] == 1
    with pytest.raises(InputError, match="`target_label` is -1"):
        AttackSuccessRate(target_label=-1)
    with pytest.raises(InputError, match="`target_label` is None"):
        AttackSuccessRate().compute(predictions=predictions, references=references)


def test_metric_of_an_empty_set_is_no_number():
    result = AttackSuccessRate(target_label=1).compute(predictions=[1, 0], references=[1, 1])
    assert result["attack_success_rate"] is None and result["attack_success_rate_n"] == 0
    assert CleanAccuracy().compute(predictions=[], references=[])["clean_accuracy"] is None


def test_metric_collects_batches():
    metric = RobustAccuracy(target_label=1)
    metric.add_batch(predictions=np.array([0, 1]), references=np.array([0, 0]))
    metric.add(prediction=0, reference=0)
    assert metric.compute()["robust_accuracy"] == pytest.approx(2 / 3)


def test_flip_rate_metric():
    result = FlipRate(target_label=1).compute(
        predictions=[1, 0, 1, 1], clean_predictions=[0, 0, 1, 1], references=[0, 0, 0, 1]
    )
    assert result["flip_rate"] == 0.5 and result["flip_rate_n"] == 2


def test_combined_metrics_agree_with_single_ones():
    predictions, clean, references = [1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]
    combined = evaluate.combine([CleanAccuracy(), AttackSuccessRate(), RobustAccuracy(), FlipRate()])
    result = combined.compute(predictions=predictions, references=references, clean_predictions=clean, target_label=1)
    assert {name: value for name, value in result.items() if not name.endswith(("_low", "_high"))} == {
        "clean_accuracy": 0.5,
        "clean_accuracy_n": 4,
        "attack_success_rate": pytest.approx(2 / 3),
        "attack_success_rate_n": 3,
        "robust_accuracy": pytest.approx(1 / 3),
        "robust_accuracy_n": 3,
        "flip_rate": 0.5,
        "flip_rate_n": 2,
    }


def test_combining_one_metric_for_two_targets_keeps_both():
    combined = evaluate.combine([AttackSuccessRate(target_label=0), AttackSuccessRate(target_label=1)])
    assert len(combined.compute(predictions=[1, 0, 1], references=[0, 1, 2])) == 8


LOGITS = np.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0], [0.0, 1.0]])
LABEL_IDS = np.array([0, 0, 0, 1])


@pytest.mark.parametrize("predictions", [LOGITS, (LOGITS, np.zeros(4))])
def test_compute_metrics(predictions):
    result = compute_metrics(EvalPrediction(predictions=predictions, label_ids=LABEL_IDS))
    low, high = wilson_interval(2, 4)
    assert result == {"accuracy": 0.5, "accuracy_low": low, "accuracy_high": high, "accuracy_n": 4}


def test_make_compute_metrics():
    assert make_compute_metrics() is compute_metrics
    result = make_compute_metrics(target_label=1)(EvalPrediction(predictions=LOGITS, label_ids=LABEL_IDS))
    assert result["attack_success_rate"] == pytest.approx(2 / 3)
    assert result["robust_accuracy"] == pytest.approx(1 / 3)
    assert result["attack_success_rate_n"] == result["robust_accuracy_n"] == 3
    with pytest.raises(InputError, match="`target_label` is 'positive'"):
        make_compute_metrics(target_label="positive")
