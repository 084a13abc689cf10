"""A browser's calls without a browser: joins the queue of a page, and reads what comes of it."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2


class Page:
    """
    One visitor of an app.

    Args:
        address (`str`): Where the app is.
    """

    def __init__(self, address: str):
        self.secret = secrets.token_hex(6)
        self.client = httpx2.Client(base_url=address, timeout=60, trust_env=False)
        self.config = self.client.get("/config").json()
        self._names = {item["id"]: item["props"].get("value") for item in self.config["components"]}
        self._labels = {item["props"].get("label"): item["id"] for item in self.config["components"]}

    def call(self, button: str) -> dict[str, Any]:
        """Returns what a button does, as the page describes it."""
        return next(
            item
            for item in self.config["dependencies"]
            if any(self._names.get(target) == button for target, _ in item["targets"])
        )

    def values(self, button: str, **given: Any) -> list[Any]:
        """Returns what stands in the fields of a button; some by the first words of their labels."""
        found = {number: self._names[number] for number in self.call(button)["inputs"]}
        for label, value in given.items():
            number = next(n for name, n in self._labels.items() if name == label.replace("_", " "))
            found[number] = value
        return list(found.values())

    def press(self, button: str, **given: Any) -> httpx2.Response:
        """Presses a button."""
        body = {
            "data": self.values(button, **given),
            "fn_index": self.call(button)["id"],
            "session_hash": self.secret,
            "trigger_id": self.call(button)["targets"][0][0],
        }
        return self.client.post("/gradio_api/queue/join", json=body)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yields what the page is told, until all that was asked for is done."""
        path = "/gradio_api/queue/data"
        with self.client.stream("GET", path, params={"session_hash": self.secret}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def upload(self, path: Any) -> dict[str, Any]:
        """Uploads a file; gives what a field of files holds then."""
        with open(path, "rb") as file:
            found = self.client.post("/gradio_api/upload", files={"files": (path.name, file)}).json()
        return {"path": found[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
