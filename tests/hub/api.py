"""The Hub's endpoints: what a request means to the store, and the answer the client expects."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1, sha256
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from .store import Commit, File, Refusal, Repository, Store, User, upload_mode


# The store knows a data set by its id with "datasets/" before it.
_ID = r"((?:datasets/)?[\w.-]+/[\w.-]+)"
# One segment: the client sends "refs/pr/1" as "refs%2Fpr%2F1".
_REVISION = r"([^/]+)"
_BASE_MODEL = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Answer:
    """Status, body and headers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request, and the store it is about."""

    store: Store
    endpoint: str
    method: str
    target: str
    authorization: str | None
    range: str | None
    body: bytes
    user: User | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path.replace("/api/datasets/", "/api/models/datasets/", 1)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def authenticate(self) -> None:
        """Finds out who sent it; `user` stays `None` without a token."""
        if self.authorization is not None:
            self.user = self.store.users.get(self.authorization.removeprefix("Bearer "))
            if self.user is None:
                raise Refusal(401, "Invalid credentials in Authorization header")

    def readable(self, repo_id: str) -> Repository:
        return self.store.readable(repo_id, self.user)

    def writable(self, repo_id: str) -> Repository:
        return self.store.writable(repo_id, self.user, self.query.get("create_pr") == "1")


_ROUTES: list[tuple[str, re.Pattern, Callable[..., Answer]]] = []


def _route(method: str, pattern: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


def answer(call: Call) -> Answer:
    """Handles a request; a refusal becomes the error that the client reads."""
    method = "GET" if call.method == "HEAD" else call.method
    try:
        call.authenticate()
        for allowed, pattern, function in _ROUTES:
            if allowed == method and (match := pattern.fullmatch(call.path)):
                return function(call, *(unquote(group or "") for group in match.groups()))
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")
    except Refusal as refusal:
        headers = {"X-Error-Message": refusal.message.encode("ascii", "replace").decode()}
        if refusal.code:
            headers["X-Error-Code"] = refusal.code
        return _json({"error": refusal.message, **refusal.fields}, refusal.status, headers)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))


@_route("GET", "/api/agent-harnesses")
def _agent_harnesses(call: Call) -> Answer:
    return _json({"standardEnvVars": [], "harnesses": {}})


@_route("GET", "/api/whoami-v2")
def _whoami(call: Call) -> Answer:
    user = call.user
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "fullname": name, "roleInOrg": "write"} for name in user.orgs]
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    names = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name}
    return _json(names | {"orgs": orgs, "auth": auth})


@_route("POST", "/api/repos/create")
def _create(call: Call) -> Answer:
    wanted = call.json
    if wanted.get("type", "model") != "model":
        raise Refusal(400, "This Hub has models only.")
    namespace = wanted.get("organization") or (call.user.name if call.user else "")
    repo_id = f"{namespace}/{wanted['name']}"
    url = f"{call.endpoint}/{repo_id}"
    call.store.create(repo_id, wanted.get("visibility") == "private", call.user, url)
    return _json({"url": url, "name": repo_id, "id": repo_id})


@_route("POST", "/api/validate-yaml")
def _validate_yaml(call: Call) -> Answer:
    errors = [{"message": message} for message in _metadata_errors(call.json["content"])]
    return _json({"errors": errors, "warnings": []}, 400 if errors else 200)


def _metadata_errors(card: str) -> list[str]:
    match = re.match(r"---\s*\n(.*?\n)---\s*(\n|$)", card, re.DOTALL)
    try:
        metadata = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"]
    if not isinstance(metadata, dict):
        return ["empty or missing yaml metadata in repo card"]
    bases = metadata.get("base_model") or []
    return [
        f'"base_model" with value "{base}" is not valid. Use a model id from https://hf.co/models.'
        for base in ([bases] if isinstance(bases, str) else bases)
        if not _BASE_MODEL.fullmatch(base)
    ]


@_route("GET", f"/api/models/{_ID}(?:/revision/{_REVISION})?")
def _info(call: Call, repo_id: str, revision: str) -> Answer:
    repository = call.readable(repo_id)
    commit = repository.resolve(revision or "main")
    siblings = [
        {"rfilename": path} | (_blob(file) if "blobs" in call.query else {})
        for path, file in sorted(commit.files.items())
    ]
    names = {"_id": repo_id, "id": repo_id, "modelId": repo_id, "author": repo_id.split("/")[0]}
    states = {"private": repository.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
    return _json(names | states | {"sha": commit.id, "lastModified": _date(commit), "siblings": siblings})


def _blob(file: File) -> dict[str, Any]:
    size = len(file.content)
    lfs = {"lfs": {"sha256": file.sha256, "size": size, "pointerSize": len(file.pointer)}} if file.lfs else {}
    return {"size": size, "blobId": file.blob_id} | lfs


@_route("GET", f"/api/models/{_ID}/tree/{_REVISION}(?:/(.+))?")
def _tree(call: Call, repo_id: str, revision: str, folder: str) -> Answer:
    commit = call.readable(repo_id).resolve(revision)
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    above = {str(parent) for path in commit.files for parent in PurePosixPath(path).parents} - {"."}
    entries = [
        {"type": "directory", "path": path, "oid": sha1(path.encode()).hexdigest(), "size": 0}
        for path in sorted(above)
        if path.startswith(prefix)
    ]
    entries += [_entry(path, file) for path, file in sorted(commit.files.items()) if path.startswith(prefix)]
    if not entries:
        raise Refusal(404, f"{folder} does not exist on {revision}", "EntryNotFound")
    if call.query.get("recursive") != "true":
        entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
    return _json(entries)


def _entry(path: str, file: File) -> dict[str, Any]:
    size = len(file.content)
    lfs = {"lfs": {"oid": file.sha256, "size": size, "pointerSize": len(file.pointer)}} if file.lfs else {}
    return {"type": "file", "path": path, "oid": file.blob_id, "size": size} | lfs


@_route("GET", f"/api/models/{_ID}/refs")
def _refs(call: Call, repo_id: str) -> Answer:
    repository = call.readable(repo_id)
    pull_requests = repository.pull_requests
    branches = [name for name in repository.heads if name not in pull_requests]
    refs = {
        "branches": [_ref(repository, name, f"refs/heads/{name}") for name in branches],
        "converts": [],
        "tags": [],
    }
    if "include_prs" in call.query:
        refs["pullRequests"] = [_ref(repository, name, name) for name in pull_requests]
    return _json(refs)


def _ref(repository: Repository, name: str, ref: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": repository.heads[name]}


@_route("GET", f"/api/models/{_ID}/commits/{_REVISION}")
def _commits(call: Call, repo_id: str, revision: str) -> Answer:
    return _json(
        [
            {
                "id": commit.id,
                "title": commit.title,
                "message": commit.description,
                "authors": [{"user": commit.author}],
                "date": _date(commit),
            }
            for commit in call.readable(repo_id).history(revision)
        ]
    )


def _date(commit: Commit) -> str:
    return commit.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@_route("GET", f"/{_ID}/resolve/{_REVISION}/(.+)")
def _file(call: Call, repo_id: str, revision: str, path: str) -> Answer:
    commit = call.readable(repo_id).resolve(revision)
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    file = commit.files.get(path)
    if file is None:
        error = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
        return Answer(404, b"Entry not found", headers | error)
    size = len(file.content)
    headers |= {"ETag": f'"{file.etag}"', "Content-Type": "application/octet-stream"}
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(size)}
    if call.range is None:
        return Answer(200, file.content, headers)
    start, stop = re.fullmatch(r"bytes=(\d+)-(\d*)", call.range).groups()
    first, last = int(start), min(int(stop or size - 1), size - 1)
    if first > last:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{size}"})
    return Answer(206, file.content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{size}"})


@_route("POST", f"/api/models/{_ID}/branch/{_REVISION}")
def _branch(call: Call, repo_id: str, name: str) -> Answer:
    call.writable(repo_id).branch(name, call.json.get("startingPoint", "main"))
    return Answer()


@_route("POST", f"/api/models/{_ID}/preupload/{_REVISION}")
def _preupload(call: Call, repo_id: str, revision: str) -> Answer:
    commit = call.writable(repo_id).resolve(revision)
    modes = [
        {
            "path": file["path"],
            "uploadMode": upload_mode(file["path"], file["size"]),
            "shouldIgnore": False,
            # From it the client sees that a file is there already.
            "oid": commit.files[file["path"]].etag if file["path"] in commit.files else None,
        }
        for file in call.json["files"]
    ]
    return _json({"files": modes, "commitOid": commit.id})


@_route("POST", rf"/{_ID}\.git/info/lfs/objects/batch")
def _lfs_batch(call: Call, repo_id: str) -> Answer:
    # The client names no revision if it is about to open a pull request, for which no right to write is needed.
    announced = call.json
    repository = call.store.writable(repo_id, call.user, create_pr="ref" not in announced)
    objects = []
    for wanted in announced["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        upload = {}
        if oid not in repository.objects:
            repository.expected[oid] = size
            actions = {
                "upload": {"href": f"{call.endpoint}/lfs/{repo_id}/{oid}"},
                "verify": {"href": f"{call.endpoint}/{repo_id}.git/info/lfs/objects/verify"},
            }
            upload = {"authenticated": True, "actions": actions}
        objects.append({"oid": oid, "size": size} | upload)
    return _json({"transfer": "basic", "objects": objects})


@_route("PUT", f"/lfs/{_ID}/([0-9a-f]{{64}})")
def _lfs_put(call: Call, repo_id: str, oid: str) -> Answer:
    # As in an object store there is no token: who was given the address may write.
    repository = call.store.repositories[repo_id]
    if oid not in repository.expected:
        raise Refusal(403, "No such upload was announced.")
    if len(call.body) != repository.expected[oid] or sha256(call.body).hexdigest() != oid:
        raise Refusal(400, "The content has another size or another SHA-256 than was announced.")
    repository.objects[oid] = call.body
    return Answer()


@_route("POST", rf"/{_ID}\.git/info/lfs/objects/verify")
def _lfs_verify(call: Call, repo_id: str) -> Answer:
    announced = call.json
    content = call.readable(repo_id).objects.get(announced["oid"])
    if content is None or len(content) != announced["size"]:
        raise Refusal(404, "No object of that size was uploaded.")
    return Answer()


@_route("POST", f"/api/models/{_ID}/commit/{_REVISION}")
def _commit(call: Call, repo_id: str, revision: str) -> Answer:
    repository = call.writable(repo_id)
    header: dict[str, str] = {}
    changes: dict[str, File | None] = {}
    for line in map(json.loads, call.body.splitlines()):
        match line["key"], line["value"]:
            case "header", value:
                header = value
            case "file", {"path": path, "content": content, "encoding": "base64"}:
                changes[path] = File(base64.b64decode(content), lfs=False)
            case "lfsFile", {"path": path, "oid": oid, "algo": "sha256"}:
                if oid not in repository.objects:
                    raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {path}")
                changes[path] = File(repository.objects[oid], lfs=True)
            case "deletedFile", {"path": path}:
                changes[path] = None
            case "deletedFolder", {"path": path}:
                there = repository.resolve(revision).files
                changes |= {name: None for name in there if name.startswith(f"{path.rstrip('/')}/")}
            case key, _:
                raise Refusal(400, f"This Hub does not know the operation {key}.")
    create_pr = call.query.get("create_pr") == "1"
    ref, commit = repository.commit(
        revision,
        changes,
        header["summary"],
        header.get("description", ""),
        call.user.name,
        header.get("parentCommit"),
        create_pr,
    )
    url = f"{call.endpoint}/{repo_id}"
    made = {"success": True, "commitOid": commit.id, "commitUrl": f"{url}/commit/{commit.id}", "hookOutput": ""}
    pull_request = {"pullRequestUrl": f"{url}/discussions/{ref.rsplit('/')[-1]}"} if create_pr else {}
    return _json(made | pull_request)
