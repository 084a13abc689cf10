"""
For whoever wants to try publication without publishing: a Hub on your own machine, for you alone.

    python examples/local_hub.py hf-finemix push purified me/purified
    python examples/local_hub.py --model someone/suspect=inputs/suspect python examples/publish.py me/purified
    python examples/local_hub.py --port 8008

Runs a command that takes this machine for the Hub, and you for the user `me`; without a command it serves until you
press Ctrl-C, and says which variables to set. `--model` puts a folder there first. All of it is in memory and gone at
the end, the client's cache included; the real Hub is not asked for anything. It checks no token, takes no pull request
and listens on 127.0.0.1 only: a place to try things out, not a server.

Prints each commit with its files, and what the command prints. The exit status is the command's.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


# Of each model its commits, oldest first; of each commit its files.
Models = dict[str, dict[str, dict[str, bytes]]]


def commit(models: Models, repo_id: str, files: dict[str, bytes]) -> str:
    """Puts a commit on top of a model; gives its hash."""
    commits = models.setdefault(repo_id, {})
    digest = hashlib.sha1(repr((repo_id, len(commits))).encode())
    for name, content in sorted(files.items()):
        digest.update(name.encode() + hashlib.sha256(content).digest())
    commits[digest.hexdigest()] = files
    return digest.hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers what the client of the Hub asks on its way to a commit and back."""

    protocol_version = "HTTP/1.1"
    models: Models = {}

    def do_GET(self) -> None:
        """Answers about users, models and files."""
        path = unquote(urlsplit(self.path).path)
        if path == "/api/whoami-v2":
            token = {"displayName": "local", "role": "write"}
            return self.send({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": token}})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            sha, files = self.find(found[1], found[3])
            if files is None:
                return self.send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            if found[2] == "tree":
                return self.send([{"type": "file", "path": n, "size": len(c), "oid": sha} for n, c in files.items()])
            siblings = [{"rfilename": name} for name in files]
            return self.send({"id": found[1], "modelId": found[1], "sha": sha, "private": False, "siblings": siblings})
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            sha, files = self.find(found[1], found[2])
            if files is None or found[3] not in files:
                code = "RepoNotFound" if files is None else "EntryNotFound"
                return self.send({"error": code}, 404, {"X-Error-Code": code, "X-Repo-Commit": sha})
            content = files[found[3]]
            return self.send(content, 200, {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
        return self.send({"error": "not here"}, 404)

    do_HEAD = do_GET  # noqa: N815 (the base class looks for these names)

    def do_POST(self) -> None:
        """Makes repositories and commits."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        address = f"http://{self.headers['Host']}"
        if path == "/api/validate-yaml":
            return self.send({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            wanted = json.loads(body)
            repo_id = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            exists = repo_id in self.models
            if not exists:
                commit(self.models, repo_id, {})
            return self.send({"url": f"{address}/{repo_id}", "name": repo_id}, 409 if exists else 200)
        if found := re.fullmatch(r"/api/models/(.+)/preupload/.+", path):
            modes = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.send({"files": [mode | {"shouldIgnore": False, "oid": None} for mode in modes]})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/.+", path):
            files = dict(self.find(found[1], None)[1])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    files.pop(line["value"]["path"], None)
            sha = commit(self.models, found[1], files)
            print(f"Commit {sha[:7]} of {found[1]}: {', '.join(sorted(files))}", flush=True)
            return self.send({"commitUrl": f"{address}/{found[1]}/commit/{sha}", "commitOid": sha})
        return self.send({"error": "not here"}, 404)

    def find(self, repo_id: str, revision: str | None) -> tuple[str, dict[str, bytes] | None]:
        """Gives a commit by its hash, or the newest."""
        commits = self.models.get(repo_id, {})
        sha = revision if revision in commits else next(reversed(commits), "")
        return sha, commits.get(sha)

    def send(self, answer: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Sends bytes as they are, and anything else as JSON."""
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Prints nothing."""


def main() -> int:
    """Serves while the command runs; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--model", action="append", default=[], metavar="ID=FOLDER", help="may be given repeatedly")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    for repo_id, _, folder in (given.partition("=") for given in options.model):
        if not Path(folder).is_dir():
            parser.exit(2, f"--model {repo_id}={folder}: there is no such folder.\n")
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        commit(Handler.models, repo_id, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    with ThreadingHTTPServer(("127.0.0.1", options.port), Handler) as server, tempfile.TemporaryDirectory() as home:
        variables = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": home,
            "HF_TOKEN": "hf_local_hub",
        }
        variables |= {"HF_HUB_CACHE": f"{home}/hub", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        if not options.command:
            print("export", *(f"{name}={value}" for name, value in variables.items()), flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()
            return 0
        Thread(target=server.serve_forever).start()
        try:
            return subprocess.run(options.command, env=os.environ | variables).returncode
        finally:
            server.shutdown()


if __name__ == "__main__":
    raise SystemExit(main())
