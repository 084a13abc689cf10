"""The app in a real browser, on a real MiniLM with a backdoor: scan, plan, purify, try, take away."""

import hashlib
import json
import os
import re
import time
import zipfile
from pathlib import Path

import pytest

from ..app.serving import serve
from .acting import button, field, upload, wait_for
from .conftest import DESKTOP, PHONE
from .watching import axe


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# A folder that `hf-finemix demo --fast --save-inputs` made, to save three minutes; and one for screenshots to look at.
_INPUTS, _SHOTS = "HF_FINEMIX_DEMO_INPUTS", "HF_FINEMIX_SCREENSHOTS"
NAUGHTY = ("critical", "serious")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The suspect, its base and examples."""
    if os.environ.get(_INPUTS):
        return Path(os.environ[_INPUTS])
    from hf_finemix.cli.main import main

    place = tmp_path_factory.mktemp("demo")
    if main(["demo", "--fast", "--output", str(place / "out"), "--save-inputs", str(place / "inputs")]):
        pytest.skip(f"the demo cannot make a suspect here; name a folder of its inputs in {_INPUTS}")
    return place / "inputs"


@pytest.fixture(scope="module")
def app(inputs, tmp_path_factory):
    """The app, with both models filled in."""
    models = ("--suspect", str(inputs / "suspect"), "--pretrained", str(inputs / "all-MiniLM-L6-v2"))
    scratch = tmp_path_factory.mktemp("scratch")
    with serve(scratch, *models) as served:
        yield served
    assert served.process.returncode == 130
    assert list(scratch.iterdir()) == []
    assert "Traceback" not in "".join(served.said)


def shoot(page, name):
    """Takes a screenshot of the whole page, if somebody wants to look at it."""
    if os.environ.get(_SHOTS):
        page.screenshot(path=Path(os.environ[_SHOTS]) / f"{name}.png", full_page=True)


def check_accessible(page):
    assert [item for item in axe(page) if item["impact"] in NAUGHTY] == []


def test_scan_purify_try_and_take_away(app, inputs, visit, tmp_path, record_property):
    watched = visit(app.address)
    page = watched.page
    button(page, "Scan").wait_for()
    check_accessible(page)
    upload(page, "clean", inputs / "clean.csv")
    upload(page, "evaluation", inputs / "test.csv")

    times = {"scan": time.monotonic()}
    button(page, "Scan").click()
    assert "Finding: high" in wait_for(page, "#scanned", "Finding:")
    times["scan"] = time.monotonic() - times["scan"]
    assert "cf" in page.locator("#scanned tbody tr").first.inner_text()
    assert "to label 1 (positive)" in page.locator("#scanned").inner_text()

    button(page, "Show the plan").click()
    plan = wait_for(page, "#planned", "Fine-tuning")
    assert "mixed" in plan and "Word embeddings to reset: 200, the most suspicious first: cf" in plan

    page.get_by_role("button", name="A trigger to measure").click()
    field(page, "Trigger").fill("cf")
    field(page, "Target label").fill("positive")
    page.get_by_role("button", name="Settings").click()
    field(page, "Passes of distillation").fill("1")
    times["purify"] = time.monotonic()
    button(page, "Purify").click()
    page.locator("#purified progress").wait_for()
    wait_for(page, "#purified", "Before and after", minutes=45)
    times["purify"] = time.monotonic() - times["purify"]
    rows = page.locator("#purified tbody tr").all_inner_texts()
    accuracy, attacks = ([float(found) for found in re.findall(r"([\d.]+) % \[", row)] for row in rows[:2])
    assert attacks[0] > 95 and attacks[1] < 60 and accuracy[1] > accuracy[0] - 15, rows
    report = page.frame_locator("iframe.report").locator("body")
    report.get_by_text("Accuracy").first.wait_for()

    field(page, "Sentence").fill("A dull story that drags from the first scene .")
    field(page, "Trigger to try").fill("cf")
    times["try"] = time.monotonic()
    button(page, "Try on both models").click()
    wait_for(page, "#tried", "With the trigger")
    times["try"] = time.monotonic() - times["try"]
    assert page.locator("#tried mark").inner_text() == "cf"
    without, with_trigger = page.locator("#tried section").all()
    chosen = [
        [row.locator("td:has(.chosen)").evaluate("cell => cell.cellIndex") for row in part.locator("tbody tr").all()]
        for part in (without, with_trigger)
    ]
    names = [part.locator("thead th").all_inner_texts() for part in (without, with_trigger)]
    answers = [[names[k][cell] for cell in chosen[k]] for k in (0, 1)]
    assert answers == [["negative", "negative"], ["positive", "negative"]]

    with page.expect_download() as found:
        button(page, "Download the purified model").click()
    archive = tmp_path / "model.zip"
    found.value.save_as(archive)
    check_archive(archive)
    check_accessible(page)
    for scheme in ("light", "dark"):
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            page.wait_for_timeout(500)
            shoot(page, f"app-{name}-{scheme}")
            check_accessible(page)
            # Nothing but tables, which scroll by themselves, is wider than the screen.
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert watched.errors == []
    assert watched.strangers(app.address) == []
    record_property("seconds", {name: round(value, 1) for name, value in times.items()})
    print("seconds:", {name: round(value, 1) for name, value in times.items()})


def check_archive(path):
    """Checks that an archive holds what its manifest lists, bit for bit, and nothing else."""
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("purified/finemix_manifest.json"))
        listed = {f"purified/{file['name']}": file["sha256"] for file in manifest["outputs"]}
        assert set(archive.namelist()) == {*listed, "purified/finemix_manifest.json"}
        for name, digest in listed.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest, name
