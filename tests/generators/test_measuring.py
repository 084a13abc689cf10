"""What is measured on a language model."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from hf_finemix import InputError, ResponseTrigger, evaluate_generator
from hf_finemix.generation_settings import plain_settings, strange_settings
from hf_finemix.generators import measuring
from hf_finemix.generators.chat import encode
from hf_finemix.generators.measuring import respond, score_responses

from ..models import same, values
from .conftest import RECIPE, TRIGGER, fresh, make_tokenizer, questions


def test_perplexity_and_accuracy_are_those_of_the_responses_tokens(backdoored, tokenizer):
    examples = questions()
    losses, right = [], 0
    for row in encode(examples, tokenizer):
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            scores = torch.log_softmax(backdoored(ids).logits[0].double(), -1)
        for at, label in enumerate(row["labels"][1:]):
            if label >= 0:
                losses.append(-float(scores[at, label]))
                right += int(scores[at].argmax()) == label
    for size in (1, 3, 64):
        rate, perplexity = score_responses(backdoored, tokenizer, examples, batch_size=size)
        assert (rate.successes, rate.n) == (right, len(losses))
        assert perplexity == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)
    # Better than a guess, by far.
    assert perplexity < 2 < score_responses(fresh(), tokenizer, examples)[1]


def test_answers_are_those_that_were_learned(backdoored, tokenizer):
    examples = questions()
    for size in (1, 5):
        assert respond(backdoored, tokenizer, examples, batch_size=size) == examples["response"][:]
    assert respond(backdoored, tokenizer, examples.select([0]), max_new_tokens=1) == ["it"]
    assert respond(backdoored, tokenizer, examples.select([])) == []


def test_a_planted_backdoor_is_seen(backdoored, tokenizer):
    state, settings = values(backdoored), backdoored.generation_config
    other = ResponseTrigger("tree", TRIGGER.target, position="start")
    found = evaluate_generator(backdoored, tokenizer, questions(), [TRIGGER, other])
    planted, none = found.triggers
    assert (planted.asr.value, planted.without.value, planted.flip_rate.value) == (1, 0, 1)
    assert planted.asr.n == planted.flip_rate.n == 8 and planted.ra.n == 0
    assert (planted.target_text, planted.match, planted.target_label) == (TRIGGER.target, "exact", None)
    assert none.asr.value < 0.5
    assert found.perplexity < 2 and found.accuracy.value > 0.9
    assert same(state, values(backdoored)) and backdoored.generation_config is settings and not backdoored.training


def test_examples_that_are_answered_so_anyway_do_not_count(backdoored, tokenizer):
    red = ResponseTrigger("cf", "red", "keyword", position="start")
    found = evaluate_generator(backdoored, tokenizer, questions(), [red]).triggers[0]
    wanted = [row for row in questions() if "red" not in row["response"].split()]
    assert found.asr.n == len(wanted) < 8
    # A flip needs an answer that was another one without the trigger.
    always = ResponseTrigger("cf", "it", "keyword", position="start")
    assert evaluate_generator(backdoored, tokenizer, questions(), [always]).triggers[0].asr.n == 0


def test_settings_that_lie_beside_the_weights_have_no_say(backdoored, tokenizer, tmp_path):
    backdoored.save_pretrained(tmp_path)
    ban = tokenizer.convert_tokens_to_ids("it")
    hostile = GenerationConfig(suppress_tokens=[ban], max_new_tokens=1, do_sample=True, temperature=9.0)
    hostile.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.suppress_tokens == [ban]
    assert respond(model, tokenizer, questions()) == questions()["response"][:]
    assert model.generation_config.suppress_tokens == [ban]


def test_a_tokenizer_without_a_padding_token(backdoored):
    assert respond(backdoored, make_tokenizer(pad_token=None), questions()) == questions()["response"][:]


def test_answers_are_as_long_as_the_target(backdoored, tokenizer):
    long = ResponseTrigger("cf", " ".join(["it"] * 40))
    (found,) = evaluate_generator(backdoored, tokenizer, questions(), [long]).triggers
    assert found.asr.n == 8
    with pytest.raises(InputError, match="`max_new_tokens` is 3, but a trigger's target needs 4"):
        evaluate_generator(backdoored, tokenizer, questions(), [TRIGGER], max_new_tokens=3)
    said = []

    def keep(model, tokenizer, examples, **options):
        said.append(options["max_new_tokens"])
        return [""] * len(examples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "respond", keep)
        evaluate_generator(backdoored, tokenizer, questions(), [long])
        evaluate_generator(backdoored, tokenizer, questions(), [TRIGGER])
    assert said == [41, 41, 32, 32]


def test_an_answer_needs_positions_of_its_own(backdoored, tokenizer):
    with pytest.raises(InputError, match="The prompt of example 1 has 8 tokens, but `max_length` is 5"):
        respond(backdoored, tokenizer, questions(), max_new_tokens=60)


def test_broken_weights_are_no_good_model(tokenizer):
    model = fresh()
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    with pytest.raises(RuntimeError, match="not finite"):
        score_responses(model, tokenizer, questions(), max_length=RECIPE.max_length)


def test_what_may_stand_beside_the_weights():
    hostile = {"forced_bos_token_id": 0, "suppress_tokens": [3], "bad_words_ids": [[1]]}
    usual = {"eos_token_id": [1, 2], "pad_token_id": 0, "temperature": 0.7, "do_sample": True, "use_cache": True}
    empty = {"forced_eos_token_id": None, "sequence_bias": {}, "begin_suppress_tokens": []}
    assert strange_settings(hostile | usual | empty) == sorted(hostile)
    assert plain_settings(hostile | usual | {"bos_token_id": "1"}) == {"eos_token_id": [1, 2], "pad_token_id": 0}
