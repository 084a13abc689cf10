"""Points huggingface_hub at a loopback Hub: a subprocess by its environment, this process by patches."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import transformers.utils.hub
from huggingface_hub import close_session, constants, file_download, hf_api
from huggingface_hub.utils import _detect_agent, _http


if TYPE_CHECKING:
    from . import LoopbackHub


def environment(hub: "LoopbackHub | str", home: Path, **more: str) -> dict[str, str]:
    """
    Gives the variables with which a subprocess uses a Hub, to be laid over `os.environ`.

    Args:
        hub (`LoopbackHub` or `str`): The Hub or its address.
        home (`Path`): The client's folder for its cache and token.
        **more (`str`): Further variables, such as `HF_TOKEN`, or other values for these.
    """
    return {
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # What the developer has set must not reach the test. The client takes an empty token for none.
        "HF_TOKEN": "",
        "HUGGING_FACE_HUB_TOKEN": "",
        "HF_OIDC_RESOURCE": "",
        "no_proxy": "127.0.0.1",
    } | more


def connect(
    monkeypatch: pytest.MonkeyPatch, hub: "LoopbackHub | str", home: Path, token: str | None = None
) -> list[float]:
    """
    Points the client that this process has imported at a Hub, until the test ends.

    Args:
        hub (`LoopbackHub` or `str`): The Hub or its address.
        home (`Path`): The client's folder for its cache and token.
        token (`str`, *optional*): Value of `HF_TOKEN`; without it the client is anonymous.

    Returns:
        `list[float]`: Filled with the seconds that the client would have waited before retries. It does not wait.
    """
    variables = environment(hub, home, HF_TOKEN=token or "")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    endpoint = variables["HF_ENDPOINT"]
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HUGGINGFACE_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    # The functions of the package, such as `upload_folder`, are methods of an object made at import.
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(hf_api.api, "_whoami_cache", {})
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
    # The next request opens a new session, which reads the proxy settings again. The one of an earlier test hangs up.
    close_session()
    # Otherwise the first test that sends a header would ask for it, and no later one.
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append)
    monkeypatch.setattr(_http, "time", clock)
    monkeypatch.setattr(file_download, "time", clock)
    return waits
