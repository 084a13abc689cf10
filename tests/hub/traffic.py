"""What the tests of the Hub send to it, and what it was asked for."""

import os
import re

from huggingface_hub import CommitOperationAdd


WEIGHTS = bytes(range(256)) * 1000
CARD = b"---\nlicense: mit\nbase_model: org/base\n---\n# A model\n"


def paths(hub, method, pattern):
    return [r.path for r in hub.requests if r.method == method and re.search(pattern, r.path)]


def commit(api, repo_id="me/model", **arguments):
    """Commits a regular and an LFS file that differ from call to call of the same size."""
    operations = [
        CommitOperationAdd("config.json", b"{}"),
        CommitOperationAdd("model.safetensors", os.urandom(300_000)),
    ]
    return api.create_commit(repo_id, operations, commit_message="A commit", **arguments)
