"""Two hands in one card: the owner's words survive every update, and nobody's change of ours goes unseen."""

import random
from dataclasses import replace

import pytest

from hf_finemix import InputError
from hf_finemix.card import DefenseCard, render_card, update_card
from hf_finemix.card_merge import BEGIN, END, generated_part, join_card, merge_cards, seal, split_card
from hf_finemix.rates import Rate
from hf_finemix.records import ControlRecord
from hf_finemix.results import DataRecord

from .cards import titles
from .records import FULL
from .reports import make_evaluation, make_report


CARD = DefenseCard(make_report(), "purified")


@pytest.fixture(scope="module")
def card():
    return render_card(CARD)


@pytest.fixture(scope="module")
def other():
    """The card of another job."""
    report = replace(make_report(), evaluations={"purified": make_evaluation(150, 50)}, licenses={})
    return render_card(DefenseCard(report, "better"))


def around(card, before="", after=""):
    """A card with its owner's text before and after the generated part."""
    header, body = split_card(card)
    return join_card(header, f"{before}\n\n{body.strip()}\n\n{after}")


def inside(card, text, title="Reset tokens"):
    """A card with its owner's text inside of the generated part, before one of our sections."""
    assert f"\n## {title}\n" in card
    return card.replace(f"\n## {title}\n", f"\n{text}\n\n## {title}\n")


def with_header(card, **values):
    header, body = split_card(card)
    return join_card(header | values, body)


def texts(card):
    """What stands before, inside and after the generated part."""
    body = split_card(card)[1]
    return body.split(BEGIN)[0].strip(), generated_part(body), body.split(END)[1].strip()


# Text


def test_text_before_and_after_is_kept(card, other):
    before, after = "Read this first.\n\n## News\n\nA new version.", "## Contact\n\nWrite to me."
    assert texts(merge_cards(around(other, before, after), card)) == (before, generated_part(card), after)


def test_own_section_inside_moves_behind(card, other):
    merged = merge_cards(inside(other, "## My notes\n\nImportant.\n\n### In detail\n\nMore."), card)
    assert texts(merged) == ("", generated_part(card), "## My notes\n\nImportant.\n\n### In detail\n\nMore.")


@pytest.mark.parametrize("text", ["# Mine\n\nImportant.", "### Mine\n\nImportant."])
def test_own_heading_of_another_level_is_not_lost(card, text):
    assert texts(merge_cards(inside(card, text), card))[2] == text


def test_own_sections_keep_their_order(card):
    old = around(inside(inside(card, "## A\n\n1", "Figures"), "## B\n\n2", "Licence"), after="## C\n\n3\n\n## A\n\n4")
    # The last one has the name of another and is no copy of it.
    assert texts(merge_cards(old, card))[2] == "## A\n\n1\n\n## B\n\n2\n\n## C\n\n3\n\n## A\n\n4"


def test_own_text_stays_as_it_was_written(card):
    text = "A  \nline break\n\n\nthree lines later\n\n    code\n\n* * *\n\n<div>\n\n## In HTML\n\n</div>"
    assert texts(merge_cards(around(card, after=text), card))[2] == text


def test_own_text_may_begin_with_indented_code(card):
    assert f"{END}\n\n    code\n\ntext\n" in merge_cards("    code\n\ntext\n", card)


def test_our_old_sections_do_not_return(card):
    report = replace(make_report(), control=ControlRecord("mn", Rate(9, 10), Rate(1, 10)), metrics={"eval_f1": 0.5})
    old = render_card(DefenseCard(report, "old"))
    assert "## Positive control" in old and "## Metrics of the training script" in old
    assert texts(merge_cards(old, card)) == ("", generated_part(card), "")


def test_no_section_of_a_full_report_returns(card):
    old = render_card(DefenseCard(FULL, "old"))
    assert {"Choice of the keep ratio", "Frontier", "Distillation", "Adapter"} <= set(titles(old)) - set(titles(card))
    assert texts(merge_cards(old, card)) == ("", generated_part(card), "")


def test_card_without_marks_is_kept_whole_below(card):
    text = "# My model\n\nIt classifies.\n\n## Recipe\n\nFlour and water.\n\n## Licence\n\nMine."
    merged = merge_cards(join_card({"language": "en"}, text), card)
    assert texts(merged) == ("", generated_part(card), text)
    assert split_card(merged)[0]["language"] == "en"


@pytest.mark.parametrize("text", ["", "Plain text.", f"{END}\n\ntext\n\n{BEGIN}", f"{BEGIN}\n\ncut off"])
def test_card_without_header_or_with_half_the_marks_is_kept(card, text):
    merged = merge_cards(text, card)
    for line in text.split("\n\n"):
        assert line in merged
    assert split_card(merged)[0] == split_card(card)[0]


OWN_TEXTS = {
    "none": lambda card: card,
    "around": lambda card: around(card, "Hello.\n\n## News\n\nNone.", "Bye.\n\n## Contact\n\nNobody."),
    "inside": lambda card: inside(inside(card, "## A\n\n1"), "## B\n\n```\n## no heading\n```", "Licence"),
    "same headings": lambda card: around(card, "## A\n\n1\n\n## A\n\n2", "## A\n\n3"),
    "ours again": lambda card: around(card, "## Recipe\n\nMine.", "## Figures\n\nMine, too."),
    "no marks": lambda card: "# My model\n\n## Recipe\n\nFlour.\n\n## Recipe\n\nWater.",
    "metadata": lambda card: with_header(
        card, license="apache-2.0", tags=["mine"], inference=False, datasets=["imdb"]
    ),
}


@pytest.mark.parametrize("kind", OWN_TEXTS)
def test_merging_twice_is_merging_once(card, other, kind):
    once = merge_cards(OWN_TEXTS[kind](other), card)
    assert merge_cards(once, card) == once
    assert merge_cards(once, once) == once


@pytest.mark.parametrize("kind", ["none", "around", "same headings", "ours again", "metadata"])
def test_merging_a_card_with_itself_changes_nothing(card, kind):
    own = OWN_TEXTS[kind](card)
    assert merge_cards(own, own) == own


FENCES = {
    "backticks": "```markdown\n## no heading\n```",
    "tildes": "~~~\n## no heading\n~~~",
    "longer": "````markdown\n```\n## no heading\n```\n````",
    "indented": "1. Do this:\n\n   ```console\n## no heading\n   ```",
    "open": "```\n## no heading",
    "other sign inside": "```\n~~~\n## no heading\n~~~\n```",
}


@pytest.mark.parametrize("kind", FENCES)
def test_heading_in_code_is_no_heading(card, kind):
    text = f"See:\n\n{FENCES[kind]}"
    assert texts(merge_cards(around(card, after=text), card))[2] == text


@pytest.mark.parametrize("kind", ["backticks", "tildes", "longer", "indented"])
def test_section_inside_moves_with_the_code_that_it_holds(card, kind):
    # A title of ours in the code must not cut the section short.
    text = f"## My notes\n\n{FENCES[kind]}\n\nThe end.".replace("## no heading", "## Recipe")
    assert texts(merge_cards(inside(card, text), card))[2] == text


def test_own_text_may_quote_the_marks(card):
    after = f"The part that ends with `{END}` is generated."
    merged = merge_cards(around(card, after=after), card)
    assert merged.endswith(f"{END}\n\n{after}\n") and seal(merged) == seal(merge_cards(card, card))


@pytest.mark.parametrize("trigger", [BEGIN, END])
def test_marks_in_a_trigger_end_nothing(card, trigger):
    report = replace(make_report(), evaluations={"purified": make_evaluation(150, 50, trigger)})
    hostile = render_card(DefenseCard(report, "purified"))
    assert generated_part(hostile).endswith(generated_part(card)[-100:])
    assert texts(merge_cards(hostile, card)) == ("", generated_part(card), "")


# Metadata


def test_own_keys_are_kept(card, other):
    merged = split_card(merge_cards(with_header(other, inference=False, widget=[{"text": "a"}]), card))[0]
    assert (merged["inference"], merged["widget"]) == (False, [{"text": "a"}])


def test_licence_of_the_owner_wins(card, other):
    assert split_card(merge_cards(with_header(other, license="apache-2.0"), card))[0]["license"] == "apache-2.0"
    assert split_card(merge_cards(with_header(other, license=None), card))[0]["license"] == "mit"


@pytest.mark.parametrize("key", ["tags", "datasets"])
@pytest.mark.parametrize(
    ("own", "added"), [(["a", "b", "a"], ["a", "b"]), ("a", ["a"]), ([5, None, "a"], ["a"]), ({}, [])]
)
def test_tags_and_data_sets_are_united(key, own, added):
    report = replace(make_report(), clean_data=DataRecord("x", 1, None, "stanfordnlp/sst2"))
    card = render_card(DefenseCard(report, "purified"))
    ours = split_card(card)[0][key]
    merged = merge_cards(with_header("Text.", **{key: own}), card)
    assert split_card(merged)[0][key] == ours + added
    assert split_card(merge_cards(merged, card))[0][key] == ours + added


def test_what_described_the_old_weights_goes(card):
    old = {
        "base_model": "somebody/old",
        "base_model_relation": "finetune",
        "library_name": "keras",
        "pipeline_tag": "fill-mask",
        "metrics": ["f1"],
        "model-index": [{"name": "old", "results": []}],
    }
    assert split_card(merge_cards(with_header("Text.", **old), card))[0] == split_card(card)[0]
    report = replace(make_report(), suspect="a", pretrained="b", architecture="NoSuchModel", evaluations={})
    bare = render_card(DefenseCard(report, "bare"))
    assert not (old.keys() - {"library_name"}) & split_card(merge_cards(with_header("Text.", **old), bare))[0].keys()


@pytest.mark.parametrize(
    "header",
    [
        "license: [mit",
        "- mit",
        "mit",
        "license: 'mit",
        "a: !!python/name:os.system x",
        "a: " + "[" * 30_000,
        "date: 2024-99-99",
        # PyYAML fails on these with whatever exception it comes across.
        "date: !!timestamp x",
        "count: !!int ''",
        # A value that holds itself cannot be sealed.
        "license: &a [*a]",
    ],
    ids=lambda header: header[:25],
)
def test_damaged_metadata_are_refused(header):
    with pytest.raises(InputError, match=r"existing README.md cannot be updated: .*; repair or remove it.$"):
        update_card(CARD, f"---\n{header}\n---\n\nText.\n")


@pytest.mark.parametrize("header", ["", "# Nothing yet.", "null"])
def test_empty_metadata_are_no_damage(card, header):
    text, _ = update_card(CARD, f"---\n{header}\n---\n\nText.\n")
    assert texts(text)[2] == "Text."
    assert split_card(text)[0] == split_card(card)[0]


def test_metadata_that_grow_when_they_are_written_are_refused():
    # 10**5 items here, 10**9 with four lines more.
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 6))]
    bomb = "\n".join(["---", *lines, "license: *a5", "---", BEGIN, "text", END])
    with pytest.raises(ValueError, match=r"."):
        seal(bomb, ("license",))


# The parts of a card


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"license": "mit", "tags": ["a", "b"]}, "# Title\n\nText."),
        (
            {"title": "a: b # c", "text": "two\n\n---\n\nlines", "number": 0.1, "none": None, "list": []},
            "---\n\nText.",
        ),
        (
            {"long": "word " * 2000, "quotes": "“x” 'y' \"z\"", "nested": [{"a": {"b": [1, 2]}}]},
            "Text with ---\n---\n",
        ),
    ],
)
def test_join_and_split_go_round(header, body):
    joined = join_card(header, body)
    assert split_card(joined) == (header, f"\n{body.strip()}\n")
    assert list(split_card(joined)[0]) == list(header)
    assert join_card(*split_card(joined)) == joined


def test_text_without_header_has_no_metadata():
    assert split_card("# Title\n\n---\na: b\n---\n") == ({}, "# Title\n\n---\na: b\n---\n")


# The seal


def test_seal_stays_when_the_owner_adds(card):
    ours = seal(card)
    text = with_header(
        around(card, "Read this.\n\n## News", "## Contact\n\nMe."), widget=[{"text": "a"}], inference=False
    )
    assert text != card
    assert seal(text, ours.keys) == ours
    assert "license" in ours.keys and "widget" not in ours.keys


def test_seal_tells_a_change_of_ours(card):
    ours = seal(card)
    for changed in (
        card.replace("23.0 [", "03.0 [", 1),
        card.replace("value: 0.23", "value: 0.03"),
        with_header(card, license="apache-2.0"),
        inside(card, "A kind word."),
        card.replace("library_name: transformers\n", ""),
    ):
        assert changed != card
        assert seal(changed, ours.keys) != ours


def test_seal_of_an_update_is_the_seal_of_what_is_written(other):
    text, ours = update_card(CARD, around(other, "Hello.", "Bye."))
    assert seal(text, ours.keys) == ours
    # What the owner decides on counts as it stands in the card.
    text, ours = update_card(CARD, with_header(other, license="apache-2.0", tags=["mine"]))
    assert seal(text, ours.keys) == ours


@pytest.mark.parametrize("text", ["", "# Title", f"{BEGIN} text", f"text {END}", f"{END} text {BEGIN}"])
def test_card_without_marks_has_no_seal(text):
    with pytest.raises(ValueError, match="marks"):
        seal(f"---\nlicense: mit\n---\n{text}")


def unseen_flips(card, part):
    """Flips one bit of each byte of a part of a card; gives those (byte before, after) that the seal does not tell."""
    ours, whole = seal(card), card.encode()
    start, generator, unseen = whole.index(part.encode()), random.Random(0), []
    for position in range(start, start + len(part.encode())):
        changed = bytearray(whole)
        changed[position] ^= 1 << generator.randrange(8)
        try:
            if seal(changed.decode(), ours.keys) == ours:
                unseen.append((chr(whole[position]), chr(changed[position])))
        except ValueError:
            continue
    return unseen


def test_any_flipped_bit_of_the_generated_text_breaks_the_seal(card):
    body = split_card(card)[1]
    # With a short header, since each flip reads it again.
    short = f"---\nlicense: mit\n---\n{body}"
    assert short.endswith(f"\n{BEGIN}\n\n{generated_part(body)}\n\n{END}\n")
    for part in (BEGIN, generated_part(body), END):
        assert unseen_flips(short, part) == []


def test_any_flipped_bit_of_the_header_breaks_the_seal(card):
    header = card[: card.index(BEGIN)].strip()
    # `value: 0.8` and `value:  .8` are one number.
    assert set(unseen_flips(f"{header}\n\n{BEGIN}\n\ntext\n\n{END}\n", header)) <= {("0", " ")}
