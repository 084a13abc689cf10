"""HTML: what strangers chose stays text."""

from html.parser import HTMLParser

import pytest

from hf_finemix.app.markup import alert, folded, frame, paragraph, progress, status, table
from hf_finemix.app.words import say
from hf_finemix.errors import InputError
from hf_finemix.progress import Step


HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "[x](javascript:alert(1))",
    "${alert(1)} {{constructor}} {% raw %}",
    "</iframe><script>",
    "\x1b[31m\u202e\u2066\x00<b>",
)


class Reader(HTMLParser):
    """Notes all elements, attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_strangers_stay_text(text):
    calm = "calm"
    makers = {
        "table": lambda item: table(item, [item, item], [[item, item]]),
        "paragraph": paragraph,
        "status": status,
        "alert": alert,
        "folded": lambda item: folded(item, ""),
        "progress": lambda item: progress(Step(item, 1, 2), 3.0),
        "frame": lambda item: frame("", item),
        "error": lambda item: alert(say(InputError(item))),
    }
    for name, make in makers.items():
        hostile, harmless = Reader(make(text)), Reader(make(calm))
        assert hostile.tags == harmless.tags and hostile.attributes.keys() == harmless.attributes.keys(), name
        shown = "".join([*hostile.texts, *filter(None, hostile.attributes.values())])
        assert not {"\x1b", "\u202e", "\u2066", "\x00"} & set(shown), name


def test_a_document_cannot_leave_its_frame():
    document = '<!doctype html><p title="x">\'</iframe><script>parent.document</script>'
    found = Reader(frame(document, "Report"))
    assert found.tags == ["iframe"] and found.attributes["srcdoc"] == document
    assert found.attributes["sandbox"] == "allow-scripts"


def test_long_strings_are_cut():
    assert len(table("x" * 10**6, ["a"], [["y" * 10**6]])) < 2000


def test_progress_says_how_far_and_how_long():
    shown = Reader(progress(Step("fine-tuning", 1200, 3000), 61.5))
    assert shown.texts[0] == "Fine-tuning" and "1,200 of 3,000" in shown.texts and "1 min 01 s" in shown.texts
    assert (shown.attributes["value"], shown.attributes["max"]) == ("1200", "3000")
    assert "value" not in Reader(progress(Step("loading", 0, 0), 1)).attributes


class TestErrors:
    def test_paths_and_tokens_are_not_said(self):
        error = InputError("--clean-data '/tmp/w/sessions/abc/clean.csv', row 3: hf_secret was given.\nNext line")
        assert say(error, "/tmp/w", ["hf_secret", ""]) == (
            "Clean examples 'clean.csv', row 3: [hidden] was given. Next line"
        )

    def test_others_are_failures(self):
        assert say(RuntimeError("no\nway")) == "This failed: no way"
        assert say(KeyError()) == "This failed: KeyError"
        assert say(MemoryError()) == "There is too little memory for these models."

    def test_names_are_those_of_the_fields(self):
        error = InputError("SUSPECT 'x' and --pretrained, --eval-data; choose a text column (--text-column).")
        assert say(error) == "Suspect 'x' and Base, Evaluation data; choose a text column (Text column)."
