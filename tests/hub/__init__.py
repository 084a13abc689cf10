"""
A loopback Hugging Face Hub: real HTTP on 127.0.0.1 for the real client, with everything in memory.

Users, private and public models, commits, branches, pull requests, LFS uploads and downloads, data sets to read, and
faults on demand.
`connect` points the client of this process at it, `environment` that of a subprocess.
"""

from pathlib import Path
from threading import Thread
from typing import Self

from .client import connect, environment
from .faults import Fault, Faults
from .server import Request, Server
from .store import Commit, File, Repository, Store, User, upload_mode


__all__ = ["Commit", "LoopbackHub", "Request", "connect", "environment"]


class LoopbackHub:
    """
    A Hub that lives as long as its `with` block.

    Attributes:
        store (`Store`): Users and repositories.
        requests (`list[Request]`): All requests in the order they came: method, path, status, headers, body.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.faults = Faults()
        self.requests: list[Request] = []
        self._server = Server(self.store, self.faults, self.requests)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()
        self._thread.join()
        if self._server.crashes:
            raise self._server.crashes[0]

    @property
    def endpoint(self) -> str:
        """Address of the Hub, for `HF_ENDPOINT`."""
        return self._server.endpoint

    @property
    def received(self) -> list[bytes]:
        """Every byte that came in, an item per request: head without Authorization, body, what is base64 in it."""
        return [request.content for request in self.requests]

    def add_user(self, name: str, token: str, role: str = "write", orgs: tuple[str, ...] = ()) -> None:
        """Makes a token known; a user may have several, each with its role ("read" or "write")."""
        with self.store.lock:
            self.store.users[token] = User(name, role, tuple(orgs))

    def add_model(self, repo_id: str, content: Path | dict[str, bytes], private: bool = False) -> str:
        """Puts files in one commit on `main`, in a new repository if there is none; gives the commit's hash."""
        if isinstance(content, Path):
            paths = sorted(path for path in content.rglob("*") if path.is_file())
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in paths}
        changes = {path: File(data, upload_mode(path, len(data)) == "lfs") for path, data in content.items()}
        with self.store.lock:
            if repo_id not in self.store.repositories:
                self.store.repositories[repo_id] = Repository(repo_id, private, author=repo_id.split("/")[0])
            repository = self.store.repositories[repo_id]
            repository.objects |= {file.sha256: file.content for file in changes.values() if file.lfs}
            return repository.commit("main", changes, "Add files", author=repo_id.split("/")[0])[1].id

    def add_dataset(self, repo_id: str, content: Path | dict[str, bytes]) -> str:
        """Does what `add_model` does, for a data set; clients can only read it."""
        return self.add_model(f"datasets/{repo_id}", content)

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Gives the files of a branch, commit or pull request ("refs/pr/1")."""
        with self.store.lock:
            files = self.store.repositories[repo_id].resolve(revision).files
            return {path: file.content for path, file in files.items()}

    def commits(self, repo_id: str, revision: str = "main") -> list[Commit]:
        """Gives the commits of a revision, newest first."""
        with self.store.lock:
            return self.store.repositories[repo_id].history(revision)

    def fail(
        self,
        method: str,
        path: str,
        status: int = 500,
        times: int = 1,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        after_handling: bool = False,
    ) -> None:
        """
        Answers the next requests of that kind with an error.

        Args:
            path (`str`): Regular expression, searched in the path with its query.
            after_handling (`bool`): Whether the work is done nevertheless, as behind a gateway that times out.
        """
        self.faults.add(Fault(method, path, times, status, headers or {}, body, after_handling=after_handling))

    def cut(
        self,
        method: str,
        path: str,
        times: int = 1,
        after: int | None = None,
        after_handling: bool = False,
        reset: bool = False,
    ) -> None:
        """
        Closes the connection in the middle of the next requests of that kind.

        Args:
            path (`str`): Regular expression, searched in the path with its query.
            after (`int`, *optional*): Bytes of the body that go through first: of the request's if it has one and is
                not handled, of the answer's otherwise. Without it nothing is read or sent after the request's head.
            after_handling (`bool`): Whether the work is done, so that only the answer is lost.
            reset (`bool`): Whether the connection is reset (RST) instead of closed (FIN).
        """
        self.faults.add(Fault(method, path, times, after=after, after_handling=after_handling, reset=reset))
