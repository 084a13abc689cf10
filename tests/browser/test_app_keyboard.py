"""The app in a real browser, on tiny models: with the keyboard alone, with hostile ones, ended, and out of turn."""

import json
import shutil

import pytest

from hf_finemix.app.serving import opened
from hf_finemix.app.sessions import Sessions
from hf_finemix.app.settings import AppSettings

from ..app.serving import serve
from ..app.test_markup import HOSTILE
from ..files import change_config
from .acting import MINUTE, Keyboard, button, field, wait_for
from .conftest import PHONE
from .watching import axe


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def app(tiny_place, tmp_path_factory):
    """The app, with both models filled in."""
    models = ("--suspect", str(tiny_place.suspect), "--pretrained", str(tiny_place.base))
    with serve(tmp_path_factory.mktemp("scratch"), *models) as served:
        yield served
    assert "Traceback" not in "".join(served.said)


def test_the_whole_path_by_keyboard(app, visit, tiny_place, tmp_path):
    watched = visit(app.address)
    page, keys = watched.page, Keyboard(watched.page)
    button(page, "Scan").wait_for()
    keys.fill("Suspect", str(tiny_place.suspect))
    keys.fill("Base", str(tiny_place.base))
    with page.expect_file_chooser() as chooser:
        keys.press("Clean examples: ")
    chooser.value.set_files(tiny_place.clean)
    page.locator("#clean").get_by_text("clean").first.wait_for()
    keys.press("Settings")
    keys.fill("Passes of fine-tuning", "1")
    keys.fill("Passes of distillation", "0")
    keys.press("Scan")
    wait_for(page, "#scanned", "Finding:")
    keys.press("Show the plan")
    wait_for(page, "#planned", "Fine-tuning: 12")
    keys.press("Purify")
    wait_for(page, "#purified", "Nothing was measured")
    keys.fill("Sentence", "the movie is dull")
    keys.fill("Trigger to try", "cf")
    keys.press("Try on both models")
    wait_for(page, "#tried", "With the trigger")
    with page.expect_download() as found:
        keys.press("Download the purified model")
    found.value.save_as(tmp_path / "model.zip")
    assert (tmp_path / "model.zip").stat().st_size > 1000
    assert watched.errors == [] and watched.strangers(app.address) == []


def test_strings_of_a_hostile_model_stay_text(app, visit, tiny_place, tmp_path):
    root = shutil.copytree(tiny_place.root, tmp_path / "hostile")
    text = "".join(HOSTILE[:6])
    names = {"id2label": {"0": "negative", "1": text}, "label2id": {"negative": 0, text: 1}}
    change_config(root / "suspect", **names)
    for folder in (root / "suspect", root / "base"):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        vocabulary = content["model"]["vocab"]
        content["model"]["vocab"] = {text if name == "cf" else name: k for name, k in vocabulary.items()}
        path.write_text(json.dumps(content))
    clean = root / "clean.csv"
    clean.write_text(clean.read_text().replace("positive", "1").replace("negative", "0"))
    watched = visit(app.address)
    page = watched.page
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    button(page, "Scan").wait_for()
    for label, value in (("Suspect", root / "suspect"), ("Base", root / "base")):
        page.locator("label").filter(has=page.get_by_text(label, exact=True)).locator("textarea, input").fill(
            str(value)
        )
    page.locator("#clean input[type=file]").set_input_files(clean)
    page.locator("#clean").get_by_text("clean").first.wait_for()
    page.get_by_role("button", name="Settings").click()
    field(page, "Passes of distillation").fill("0")
    button(page, "Scan").click()
    wait_for(page, "#scanned", "Finding:")
    button(page, "Purify").click()
    wait_for(page, "#purified", "Nothing was measured")
    field(page, "Sentence").fill(text)
    page.get_by_role("button", name="Try on both models").click()
    wait_for(page, "#tried", "Without the trigger")
    assert "<script>alert(1)</script>" in page.locator("#tried blockquote").inner_text()
    assert page.locator("#scanned, #purified, #tried").locator("script, img, b").count() == 0
    assert dialogs == [] and watched.errors == [] and watched.strangers(app.address) == []


def test_errors_stand_in_the_page_and_are_read_out(app, visit):
    watched = visit(app.address, viewport=PHONE, color_scheme="dark")
    page = watched.page
    button(page, "Purify").click()
    place = page.locator("#purified [role=alert]")
    place.wait_for(timeout=10 * MINUTE)
    assert place.inner_text() == "Clean examples are missing; upload some dozens of labelled texts."
    button(page, "Publish").click()
    page.locator("#pushed [role=alert]").wait_for(timeout=10 * MINUTE)
    assert [item for item in axe(page) if item["impact"] in ("critical", "serious")] == []
    assert watched.errors == []


def test_the_token_leaves_its_field(app, visit):
    watched = visit(app.address)
    page = watched.page
    told = []
    page.on("response", lambda answer: told.append(answer.url))
    page.locator("label").filter(has=page.get_by_text("Token of the Hub", exact=True)).locator("input").fill(
        "hf_secret"
    )
    field = page.locator("input[type=password]")
    assert field.get_attribute("autocomplete") == "off"
    button(page, "Publish").click()
    page.locator("#pushed [role=alert]").wait_for(timeout=10 * MINUTE)
    page.wait_for_function("document.querySelector('input[type=password]').value === ''")
    assert "hf_secret" not in page.content() and not any("hf_secret" in url for url in told)
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "hf_secret" not in stored


def test_a_full_queue_says_so(visit, tiny_place, tmp_path, monkeypatch):
    settings = AppSettings(tmp_path / "app", waiting=1, suspect=str(tiny_place.suspect), pretrained="x")
    settings.archives.mkdir(parents=True)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(settings.uploads))
    sessions = Sessions(settings)
    with opened(sessions) as address:
        turn = sessions.get("somebody").turn
        turn.acquire()
        # One at work, one in the queue, one who finds it full.
        pages = [visit(address).page for _ in range(3)]
        for page, told in zip(pages, ("Waiting for somebody else", "queue: 1/1", None), strict=True):
            button(page, "Scan").click()
            if told is not None:
                page.locator("#scanned").get_by_text(told).wait_for()
        pages[2].get_by_text("This application is currently busy. Please try again.").wait_for()
        turn.release()
