"""The demo on real weights, stopped and killed while it trains its first model: nothing is left but hidden things."""

import re
import signal

import pytest


# What the demo shows is tested elsewhere.
SHORT = """
import hf_finemix.demo.run as run
run.FAST = type(run.FAST)(train=40, test=10)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["2", "15", "9"]
)
def test_demo_that_is_stopped(desk, number, status):
    run = ["demo", "--fast", "--output", desk.target, "--save-inputs", desk.work / "inputs"]
    watched = (desk.work, desk.scratch)
    options = {"folder": desk.root, "scratch": desk.scratch, "watched": watched, "code": SHORT}
    # The training of the suspect makes a folder of its own, and removes it.
    done = desk.starter.run(run, **options, signals={11: number})
    assert done.status == status, done.err
    if number is signal.SIGKILL:
        assert not any(desk.work.iterdir())
        assert all(path.name.startswith("finemix-") for path in desk.scratch.iterdir())
    else:
        assert re.fullmatch(r"hf-finemix: [^\n]+\n", done.err)
        assert not desk.files()
