"""The client is pointed at the Hub of the tests, and back again."""

import os

import pytest
from huggingface_hub import HfApi, constants

from . import connect


def test_connect_is_undone(hub, tmp_path):
    before = (constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE, HfApi().endpoint, dict(os.environ))
    with pytest.MonkeyPatch.context() as monkeypatch:
        connect(monkeypatch, hub, tmp_path, token="hf_me")
        assert HfApi().endpoint == hub.endpoint
    after = (constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE, HfApi().endpoint, dict(os.environ))
    assert after == before
