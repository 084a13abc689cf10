import json
import math

import pytest

from hf_finemix import FineMixConfig, InputError, MixReport
from hf_finemix.plan import COPIED, KEPT, MIXED, ParameterRecord, canonical_name, plan_mixing


PARAMETERS = {"bert.a.weight": (3, 4), "bert.b.bias": (4,), "bert.pooler.weight": (2, 2), "classifier.bias": ()}
BUFFERS = {"bert.position_ids": (1, 8)}


def make_plan(**settings):
    absent = {"classifier.bias": "head"}
    pretrained = [name for name in PARAMETERS if name not in absent]
    return plan_mixing(PARAMETERS, BUFFERS, pretrained, absent, FineMixConfig(**settings), "org/base")


def actions(report):
    return {record.name: record.action for record in report.parameters}


def test_every_parameter_and_buffer_is_listed_once_in_the_models_order():
    assert [record.name for record in make_plan().parameters] == [*PARAMETERS, *BUFFERS]


def test_parameters_with_a_counterpart_are_mixed_the_head_is_kept_and_buffers_are_copied():
    report = make_plan()
    assert list(actions(report).values()) == [MIXED, MIXED, MIXED, KEPT, COPIED]
    assert report.parameters[3].reason == "head"
    assert report.mixed_scalars == 12 + 4 + 4
    assert report.kept_share is None


def test_a_parameter_without_a_stated_reason_still_gets_one():
    report = plan_mixing({"a": (1,)}, {}, [], {}, FineMixConfig(), "base")
    assert report.parameters[0].action == KEPT
    assert report.parameters[0].reason


def test_excluded_parameters_are_kept_and_say_which_expression_matched():
    report = make_plan(exclude=(r"pooler\.", "bias$"))
    assert actions(report) == {
        "bert.a.weight": MIXED,
        "bert.b.bias": KEPT,
        "bert.pooler.weight": KEPT,
        "classifier.bias": KEPT,
        "bert.position_ids": COPIED,
    }
    assert "pooler" in report.parameters[2].reason
    # The head is kept in any case; that is the better reason.
    assert report.parameters[3].reason == "head"


def test_an_expression_that_matches_nothing_is_refused():
    with pytest.raises(InputError, match="'poolre', which matches no parameter"):
        make_plan(exclude=("poolre",))


def test_the_share_counts_mixed_scalars_only():
    report = make_plan().with_counts({"bert.a.weight": 6, "bert.b.bias": 1, "bert.pooler.weight": 0})
    assert report.kept_share == 7 / 20
    assert report.parameters[3].kept_scalars is None


def test_a_plan_without_mixed_scalars_has_no_share():
    assert make_plan(exclude=("",)).kept_share is None
    empty = plan_mixing({"a": (0, 3)}, {}, ["a"], {}, FineMixConfig(), "base").with_counts({"a": 0})
    assert empty.kept_share is None


def test_a_report_survives_json():
    for report in (make_plan(exclude=("pooler",), seed=2**64 - 1), make_plan().with_counts({"bert.a.weight": 3})):
        assert MixReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_record_counts_its_scalars():
    assert [ParameterRecord("a", shape, KEPT, "").numel for shape in ((), (0, 5), (3, 4, 5))] == [1, 0, 60]


def test_the_summary_adds_up_to_all_scalars():
    lines = make_plan(exclude=("pooler",)).summary().splitlines()
    assert len(lines) == 4
    scalars = [int(line.split()[3].replace(",", "")) for line in lines]
    assert sum(scalars) == sum(math.prod(shape) for shape in (*PARAMETERS.values(), *BUFFERS.values()))


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("bert.encoder.layer.0.weight", "bert.encoder.layer.0.weight"),
        ("module.bert.a.weight", "bert.a.weight"),
        ("_orig_mod.bert.a.weight", "bert.a.weight"),
        ("module.module._orig_mod.bert.a.weight", "bert.a.weight"),
        ("_fsdp_wrapped_module.bert.layer.0._fsdp_wrapped_module.weight", "bert.layer.0.weight"),
        ("bert.layer.0._checkpoint_wrapped_module.weight", "bert.layer.0.weight"),
        ("bert.modules.weight", "bert.modules.weight"),
        ("bert.submodule.weight", "bert.submodule.weight"),
        ("bert.module", "bert.module"),
    ],
)
def test_prefixes_of_wrappers_leave_the_name(raw, canonical):
    assert canonical_name(raw) == canonical
