"""What a Hub keeps: users, repositories, commits, branches and pull requests. Plain Python in memory, no HTTP."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import RLock


_LFS_SUFFIXES = (".safetensors", ".png", ".bin")
_LFS_SIZE = 10_000_000
_GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _LFS_SUFFIXES).encode()
_FIRST_DATE = datetime(2026, 1, 1, tzinfo=UTC)


class Refusal(Exception):  # noqa: N818 (no failure of the Hub)
    """A request that the Hub answers with an error: status, message, X-Error-Code and further fields of the body."""

    def __init__(self, status: int, message: str, code: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.fields = status, message, code, fields


def upload_mode(path: str, size: int) -> str:
    """Says how a file is uploaded: "lfs" or "regular"."""
    return "lfs" if path.endswith(_LFS_SUFFIXES) or size > _LFS_SIZE else "regular"


@dataclass(frozen=True)
class File:
    """Content of one file and whether git holds a pointer in its place."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        lines = (
            "version https://git-lfs.github.com/spec/v1",
            f"oid sha256:{self.sha256}",
            f"size {len(self.content)}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    @cached_property
    def blob_id(self) -> str:
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id


@dataclass(frozen=True)
class Commit:
    """A commit with all files at that point, and the paths that it changed (or added) and deleted."""

    id: str
    parent: str | None
    title: str
    description: str
    author: str
    date: datetime
    files: dict[str, File]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]


@dataclass(frozen=True)
class User:
    """The owner of a token, and what the token may do."""

    name: str
    role: str
    orgs: tuple[str, ...]

    def belongs_to(self, namespace: str) -> bool:
        return namespace in (self.name, *self.orgs)

    def may_write(self, namespace: str) -> bool:
        return self.role == "write" and self.belongs_to(namespace)


class Repository:
    """
    A model repository, which starts with a commit that holds .gitattributes.

    Attributes:
        heads (`dict[str, str]`): Commit hashes of branches ("main") and pull requests ("refs/pr/1").
        objects (`dict[str, bytes]`): Uploaded LFS objects by SHA-256.
        expected (`dict[str, int]`): Sizes of the LFS objects whose upload was announced.
    """

    def __init__(self, repo_id: str, private: bool, author: str) -> None:
        self.id, self.private = repo_id, private
        self.objects: dict[str, bytes] = {}
        self.expected: dict[str, int] = {}
        self._commits: dict[str, Commit] = {}
        first = self._add(None, {".gitattributes": File(_GITATTRIBUTES, lfs=False)}, "initial commit", "", author)
        self.heads = {"main": first.id}

    @property
    def pull_requests(self) -> list[str]:
        return [ref for ref in self.heads if ref.startswith("refs/pr/")]

    def resolve(self, revision: str) -> Commit:
        """Finds the commit that a branch, pull request or commit hash means."""
        commit = self._commits.get(self.heads.get(revision, revision))
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def history(self, revision: str) -> list[Commit]:
        """Gives a revision's commits, newest first."""
        commits = [self.resolve(revision)]
        while commits[-1].parent is not None:
            commits.append(self._commits[commits[-1].parent])
        return commits

    def branch(self, name: str, start: str) -> None:
        """Makes a branch."""
        if name.startswith("refs/"):
            raise Refusal(400, f"Invalid reference for a branch: {name}")
        if name in self.heads:
            raise Refusal(409, f"Reference already exists: {name}")
        self.heads[name] = self.resolve(start).id

    def commit(
        self,
        revision: str,
        changes: dict[str, File | None],
        title: str,
        description: str = "",
        author: str = "",
        parent: str | None = None,
        create_pr: bool = False,
    ) -> tuple[str, Commit]:
        """
        Moves a branch or pull request to a new commit, or opens a pull request with it.

        Args:
            changes (`dict[str, File | None]`): New contents; `None` deletes the file.
            parent (`str`, *optional*): The commit that has to be the head, or where the pull request starts.

        Returns:
            `tuple[str, Commit]`: The reference that points to the commit now, and the commit.
        """
        if revision not in self.heads:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        base = self.resolve(revision)
        if create_pr:
            base = self.resolve(parent) if parent else base
            revision = f"refs/pr/{len(self.pull_requests) + 1}"
        elif parent and not base.id.startswith(parent):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        commit = self._add(base, changes, title, description, author)
        self.heads[revision] = commit.id
        return revision, commit

    def _add(
        self, parent: Commit | None, changes: dict[str, File | None], title: str, description: str, author: str
    ) -> Commit:
        files = dict(parent.files) if parent else {}
        for path, file in changes.items():
            if file is not None:
                files[path] = file
            elif files.pop(path, None) is None:
                raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        number = len(self._commits)
        parent_id = parent.id if parent else None
        content = [(path, file.etag) for path, file in sorted(files.items())]
        commit = Commit(
            id=hashlib.sha1(repr((self.id, number, parent_id, title, description, content)).encode()).hexdigest(),
            parent=parent_id,
            title=title,
            description=description,
            author=author,
            date=_FIRST_DATE + timedelta(minutes=number),
            files=files,
            changed=tuple(path for path, file in changes.items() if file is not None),
            deleted=tuple(path for path, file in changes.items() if file is None),
        )
        self._commits[commit.id] = commit
        return commit


class Store:
    """All users by token and all repositories by id, with the lock that guards them."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.repositories: dict[str, Repository] = {}
        self.lock = RLock()

    def create(self, repo_id: str, private: bool, user: User | None, url: str) -> None:
        """Makes a repository for a user."""
        namespace = repo_id.split("/")[0]
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        if not user.may_write(namespace):
            raise Refusal(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        if repo_id in self.repositories:
            raise Refusal(409, "You already created this model repo", url=url)
        self.repositories[repo_id] = Repository(repo_id, private, user.name)

    def readable(self, repo_id: str, user: User | None) -> Repository:
        """Finds a repository that a user may see; to strangers a private one does not exist."""
        repository = self.repositories.get(repo_id)
        namespace = repo_id.split("/")[0]
        if repository is None or (repository.private and not (user and user.belongs_to(namespace))):
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        return repository

    def writable(self, repo_id: str, user: User | None, create_pr: bool = False) -> Repository:
        """Finds a repository that a user may write to, or open a pull request in."""
        repository = self.readable(repo_id, user)
        if user is None:
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")
        if user.role != "write" or not (create_pr or user.may_write(repo_id.split("/")[0])):
            raise Refusal(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository
