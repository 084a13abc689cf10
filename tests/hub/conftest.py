"""A Hub with two users, and its client."""

import pytest
from huggingface_hub import HfApi

from . import LoopbackHub, connect


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_user("me", "hf_me", orgs=("lab",))
        hub.add_user("me", "hf_reader", role="read")
        hub.add_user("you", "hf_you")
        yield hub


@pytest.fixture
def waits(hub, monkeypatch, tmp_path):
    return connect(monkeypatch, hub, tmp_path / "home", token="hf_me")


@pytest.fixture
def api(waits):
    return HfApi()
