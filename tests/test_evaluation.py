import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_finemix.attacks.trigger import Trigger
from hf_finemix.data import tokenize
from hf_finemix.errors import InputError
from hf_finemix.evaluation import compute_logits, evaluate_model, predict
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation, TriggerEvaluation


@pytest.fixture
def examples() -> Dataset:
    """Forty texts of one to twenty words, in no order of length."""
    generator = np.random.default_rng(0)
    words = ["good", "bad", "film", "story", "very", "not", "dull", "fun", "love", "hate", "the", "a"]
    texts = [" ".join(generator.choice(words, size=generator.integers(1, 21))) for _ in range(40)]
    return Dataset.from_dict({"text": texts, "label": generator.integers(0, 2, size=40).tolist()})


class Oracle(torch.nn.Module):
    """A classifier of two labels that follows a rule on the input ids, of shape `(batch, length)`."""

    def __init__(self, rule):
        super().__init__()
        self.rule, self.config, self.device = rule, PreTrainedConfig(num_labels=2), torch.device("cpu")

    def forward(self, input_ids, **inputs):
        return SequenceClassifierOutput(logits=torch.nn.functional.one_hot(self.rule(input_ids), 2).float())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_predict_gives_the_original_order(tiny_bert, tiny_tokenizer, examples, batch_size):
    expected = []
    with torch.no_grad():
        for text in examples["text"]:
            expected.append(tiny_bert(**tiny_tokenizer(text, return_tensors="pt")).logits.argmax().item())
    assert set(expected) == {0, 1}
    predictions = predict(tiny_bert, tiny_tokenizer, examples, batch_size=batch_size)
    assert predictions.dtype == np.int64 and predictions.shape == (40,)
    assert predictions.tolist() == expected


def test_predict_runs_longest_first(tiny_bert, tiny_tokenizer, examples):
    lengths = []
    tiny_bert.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    predict(tiny_bert, tiny_tokenizer, examples, batch_size=8)
    assert len(lengths) == 5 and lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]


def test_predict_uses_the_second_text(tiny_bert, tiny_tokenizer, examples):
    pairs = examples.add_column("text_pair", list(reversed(examples["text"])))
    with torch.no_grad():
        expected = [
            tiny_bert(**tiny_tokenizer(row["text"], row["text_pair"], return_tensors="pt")).logits.argmax().item()
            for row in pairs
        ]
    assert predict(tiny_bert, tiny_tokenizer, pairs).tolist() == expected


def test_predict_leaves_the_model_as_it_was(tiny_bert, tiny_tokenizer, examples):
    tiny_bert.train()
    tiny_bert.bert.embeddings.eval()
    modes = [module.training for module in tiny_bert.modules()]
    during = []
    tiny_bert.register_forward_pre_hook(lambda module, args: during.append(module.training))
    predict(tiny_bert, tiny_tokenizer, examples)
    assert during == [False]
    assert [module.training for module in tiny_bert.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in tiny_bert.parameters())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_logits_come_in_the_order_of_the_inputs(tiny_bert, tiny_tokenizer, examples, batch_size):
    inputs = tokenize(examples.remove_columns("label"), tiny_tokenizer).to_dict()
    with torch.no_grad():
        rows = [tiny_bert(**tiny_tokenizer(text, return_tensors="pt")).logits for text in examples["text"]]
    before = {name: list(map(list, column)) for name, column in inputs.items()}
    tiny_bert.train()
    found = compute_logits(tiny_bert, tiny_tokenizer, inputs, batch_size=batch_size)
    assert found.shape == (40, 2) and found.dtype == np.float32
    assert np.allclose(found, torch.cat(rows).numpy(), atol=1e-4)
    assert inputs == before and tiny_bert.training
    tiny_bert.to(torch.bfloat16)
    assert compute_logits(tiny_bert, tiny_tokenizer, inputs).dtype == np.float32


def test_logits_that_are_not_finite_are_refused(tiny_bert, tiny_tokenizer):
    with torch.no_grad():
        tiny_bert.classifier.bias[0] = float("nan")
    with pytest.raises(RuntimeError, match="logits that are not finite"):
        compute_logits(tiny_bert, tiny_tokenizer, {"input_ids": [[2, 7, 3]], "attention_mask": [[1, 1, 1]]})


def test_predict_of_nothing(tiny_bert, tiny_tokenizer, examples):
    assert predict(tiny_bert, tiny_tokenizer, examples.select([])).shape == (0,)


def test_predict_refuses_logits_that_are_not_finite(tiny_bert, tiny_tokenizer, examples):
    tiny_bert.train()
    with torch.no_grad():
        tiny_bert.classifier.bias[0] = torch.nan
    with pytest.raises(RuntimeError, match="logits that are not finite"):
        predict(tiny_bert, tiny_tokenizer, examples)
    assert tiny_bert.training


def test_progress_goes_to_standard_error_on_request(tiny_bert, tiny_tokenizer, examples, capfd):
    predict(tiny_bert, tiny_tokenizer, examples)
    assert capfd.readouterr() == ("", "")
    predict(tiny_bert, tiny_tokenizer, examples, progress=True, desc="reading")
    captured = capfd.readouterr()
    assert captured.out == "" and "reading: 100%" in captured.err and "40/40" in captured.err


def test_evaluate_backdoored_model(tiny_tokenizer, examples):
    token = tiny_tokenizer.convert_tokens_to_ids("cf")
    model = Oracle(lambda input_ids: (input_ids == token).any(dim=1).long())
    zeros = list(examples["label"]).count(0)
    evaluation = evaluate_model(
        model,
        tiny_tokenizer,
        examples,
        [Trigger("cf", 1), Trigger("mn", 1, "end"), Trigger("cf", 0, "start")],
    )
    # Without the trigger the model always answers 0.
    assert evaluation.accuracy == Rate(zeros, 40)
    assert evaluation.triggers == (
        TriggerEvaluation("cf", "random", 1, asr=Rate(zeros, zeros), ra=Rate(0, zeros), flip_rate=Rate(zeros, zeros)),
        TriggerEvaluation("mn", "end", 1, asr=Rate(0, zeros), ra=Rate(zeros, zeros), flip_rate=Rate(0, zeros)),
        TriggerEvaluation(
            "cf", "start", 0, asr=Rate(0, 40 - zeros), ra=Rate(40 - zeros, 40 - zeros), flip_rate=Rate(0, 0)
        ),
    )
    assert evaluation.worst is evaluation.triggers[0]
    assert evaluation.mean_asr == pytest.approx(1 / 3)


def test_evaluate_agrees_with_predictions_on_all_rows(tiny_tokenizer, examples):
    # Sensitive to every token and its place, not to the padding, whose id is 0.
    model = Oracle(lambda input_ids: (input_ids * torch.arange(input_ids.shape[1])).sum(dim=1) % 2)
    trigger = Trigger("love", 1)
    references = np.array(list(examples["label"]))
    clean = predict(model, tiny_tokenizer, examples)
    triggered = predict(model, tiny_tokenizer, trigger.apply(examples))
    others = references == 0
    right = others & (clean == 0)
    evaluation = evaluate_model(model, tiny_tokenizer, examples, [trigger], batch_size=3)
    assert evaluation.accuracy == Rate(int((clean == references).sum()), 40)
    result = evaluation.triggers[0]
    assert result.asr == Rate(int((triggered[others] == 1).sum()), int(others.sum()))
    assert result.ra == Rate(int((triggered[others] == 0).sum()), int(others.sum()))
    assert result.flip_rate == Rate(int((triggered[right] == 1).sum()), int(right.sum()))


def test_evaluate_with_target_examples_only(tiny_bert, tiny_tokenizer):
    examples = Dataset.from_dict({"text": ["good", "fun film"], "label": [1, 1]})
    evaluation = evaluate_model(tiny_bert, tiny_tokenizer, examples, [Trigger("cf", 1)])
    assert evaluation.triggers[0].asr == Rate(0, 0)
    assert evaluation.mean_asr is None and evaluation.worst is None


def test_evaluate_refuses_a_target_that_the_model_lacks(tiny_bert, tiny_tokenizer, examples):
    with pytest.raises(InputError, match="`target_label` is 2, but must be a label of the model, from 0 to 1"):
        evaluate_model(tiny_bert, tiny_tokenizer, examples, [Trigger("cf", 2)])


def test_evaluation_survives_json():
    rate = Rate(3, 4)
    evaluation = Evaluation(rate, (TriggerEvaluation("cf", "end", 1, asr=rate, ra=Rate(1, 4), flip_rate=Rate(0, 0)),))
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict()))) == evaluation
    assert Evaluation.from_dict(Evaluation(rate).to_dict()) == Evaluation(rate)


def test_evaluation_without_triggers():
    assert Evaluation(Rate(1, 2)).mean_asr is None
    assert Evaluation(Rate(1, 2)).worst is None


def test_worst_skips_triggers_without_a_rate():
    def result(name, asr):
        return TriggerEvaluation(name, "end", 1, asr=asr, ra=asr, flip_rate=asr)

    evaluation = Evaluation(Rate(1, 2), (result("a", Rate(0, 0)), result("b", Rate(1, 4)), result("c", Rate(3, 4))))
    assert evaluation.worst.trigger == "c"
    assert evaluation.mean_asr == 0.5


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_holds_an_example_at_least(tiny_bert, tiny_tokenizer, batch_size):
    examples = Dataset.from_dict({"text": ["a good film"], "label": [1]})
    with pytest.raises(InputError, match="`batch_size`"):
        predict(tiny_bert, tiny_tokenizer, examples, batch_size=batch_size)
