"""One commit on the Hub: weights, tokenizer, card, report, manifest and figures, and nothing else."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    get_token,
    hf_hub_download,
)
from huggingface_hub.utils import validate_repo_id

from .card import DefenseCard, read_card, update_card
from .card_merge import merge_cards, seal
from .errors import InputError
from .hashes import FileRecord
from .hub_errors import hub_errors, retried
from .loading import CARD_FILE
from .manifest import MANIFEST_FILE, Manifest, load_manifest
from .publishable import check_files, is_loaded
from .results import load_report
from .serialization import to_json
from .signing import SIGNATURE_FILE, sign, signer


_COMMITS = 4


@dataclass(frozen=True)
class Published:
    """
    Where a model went.

    Args:
        repo_id (`str`): The repository.
        commit_url (`str`): Page of the commit.
        oid (`str`): Its hash.
        pr_url (`str`, *optional*): Page of the pull request, if one was opened.
        files (`tuple[str, ...]`): The files that belong to the model, changed by this commit or not.
        removed (`tuple[str, ...]`): Files that the commit took away, because they would be loaded with the model.
    """

    repo_id: str
    commit_url: str
    oid: str
    pr_url: str | None
    files: tuple[str, ...]
    removed: tuple[str, ...]


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    sign_key: str | Path | None = None,
) -> Published:
    """
    Publishes an output folder in one commit; the folder itself stays as it is.

    Only files that its manifest lists are uploaded, and only if they are what it says. Files of the repository that
    would be loaded together with the model are removed by the same commit; its history keeps them. A card that is
    there keeps its owner's own parts.

    Args:
        folder (`str` or `Path`): An output folder of `purify`, of a trainer or of a mixin.
        repo_id (`str`): Hub id; made if it does not exist, in your own namespace if it names none.
        private (`bool`, *optional*): Whether a new repository is private; an existing one must be as asked for.
        revision (`str`, *optional*): Branch, made if it does not exist; the default branch by default.
        create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead of committing.
        commit_message (`str`, *optional*): First line of the commit's message.
        token (`str`, *optional*): Token of the Hub; the one you are logged in with by default.
        sign_key (`str` or `Path`, *optional*): Private key to sign the files with; see [`~hf_finemix.signing.sign`].

    Returns:
        [`Published`]: Repository and commit.

    Raises:
        InputError: If the folder or the repository cannot be used, or the token does not allow it.
        RuntimeError: If the Hub does not answer, or not as it should. Nothing was published then.
    """
    folder = Path(folder)
    if revision and create_pr:
        raise InputError("--revision and --create-pr exclude each other; a pull request goes to the default branch.")
    if sign_key is not None:
        signer(sign_key)
    api = HfApi(token=token)
    manifest, report, local_card = load_manifest(folder), load_report(folder), read_card(folder)
    check_files(folder, manifest, token or get_token() or "")
    # A card that cannot be updated is noticed before a repository is made, whose full name the right one needs.
    update_card(DefenseCard(report, folder.absolute().name), local_card)
    repo_id = _open_repository(api, repo_id, private, create_pr, revision)
    text, own = update_card(DefenseCard(report, repo_id.split("/")[-1], repo_id), local_card)
    push = _Push(
        api=api,
        folder=folder,
        repo_id=repo_id,
        manifest=manifest,
        card=text,
        keys=own.keys,
        message=commit_message or "Add a model purified with hf-finemix",
        revision=revision,
        create_pr=create_pr,
        sign_key=sign_key,
    )
    with hub_errors(repo_id):
        if create_pr:
            push.known_requests = retried(push.requests)
        return retried(push.commit, tries=_COMMITS)


@dataclass
class _Push:
    """One commit, tried until it is there; what is remembered from attempt to attempt keeps it from being two."""

    api: HfApi
    folder: Path
    repo_id: str
    manifest: Manifest
    card: str
    keys: tuple[str, ...]
    message: str
    revision: str | None
    create_pr: bool
    sign_key: str | Path | None
    known_requests: list[str] = field(default_factory=list)
    removed: dict[str, None] = field(default_factory=dict)
    signatures: dict[bytes, bytes] = field(default_factory=dict)

    def commit(self) -> Published:
        """Makes the commit on top of what is there now."""
        # If somebody committed in between, there may be another card. If that was ourselves, because only the answer
        # of the Hub was lost, nothing is left to change, and the client makes no commit of nothing.
        head = self.api.model_info(self.repo_id, revision=self.revision)
        additions = self.additions(_merge(self.api, head, self.card))
        names = tuple(addition.path_in_repo for addition in additions)
        if self.create_pr and (found := self.own_request(head, names)):
            return found
        stale = [name for name in _names(head) if _is_stale(name) and name not in names]
        self.removed |= dict.fromkeys(stale)
        made = self.api.create_commit(
            self.repo_id,
            [*additions, *map(CommitOperationDelete, stale)],
            commit_message=self.message,
            revision=self.revision,
            create_pr=self.create_pr,
            parent_commit=head.sha,
        )
        return Published(self.repo_id, made.commit_url, made.oid, made.pr_url, names, tuple(self.removed))

    def requests(self) -> list[str]:
        """Returns the branches of all pull requests."""
        pulls = self.api.list_repo_refs(self.repo_id, include_pull_requests=True).pull_requests
        return [pull.ref for pull in pulls or ()]

    def own_request(self, head: ModelInfo, names: tuple[str, ...]) -> Published | None:
        """Returns the pull request that an earlier attempt has opened, if its answer was lost."""
        for ref in self.requests():
            if ref not in self.known_requests:
                mine, before = self.api.list_repo_commits(self.repo_id, revision=ref)[:2]
                if (mine.title, before.commit_id) == (self.message, head.sha):
                    page = f"{self.api.endpoint}/{self.repo_id}"
                    url, request = f"{page}/commit/{mine.commit_id}", f"{page}/discussions/{ref.rsplit('/')[-1]}"
                    return Published(self.repo_id, url, mine.commit_id, request, names, tuple(self.removed))
        return None

    def additions(self, text: str) -> list[CommitOperationAdd]:
        """Returns all files of the model, with the card as it is to be."""
        content = text.encode()
        card = FileRecord(CARD_FILE, len(content), hashlib.sha256(content).hexdigest())
        others = [file for file in self.manifest.outputs if file.name != CARD_FILE]
        whole = self.manifest.with_outputs([*others, card], seal(text, self.keys))
        additions = [CommitOperationAdd(file.name, str(self.folder / file.name)) for file in others]
        for addition, file in zip(additions, others, strict=True):
            # What is uploaded is what was read here; it must be what was checked before.
            if addition.upload_info.sha256.hex() != file.sha256:
                raise InputError(
                    f"{file.name} in {str(self.folder)!r} changes while it is published; make the folder anew."
                )
        written = {CARD_FILE: content, MANIFEST_FILE: to_json(whole.to_dict()).encode()}
        if self.sign_key is not None:
            written[SIGNATURE_FILE] = self.signature({file.name: self.folder / file.name for file in others} | written)
        return [*additions, *(CommitOperationAdd(name, item) for name, item in written.items())]

    def signature(self, files: dict[str, Path | bytes]) -> bytes:
        """Signs files; once for the same ones, since no two signatures of them are alike."""
        key = files[MANIFEST_FILE]
        if key not in self.signatures:
            self.signatures[key] = sign(files, self.sign_key)
        return self.signatures[key]


def check_target(repo_id: str, token: str | None = None) -> None:
    """
    Checks, before work that takes long, that a repository's name is valid and the token may write to its namespace.

    Raises:
        InputError: If it is not, or may not.
        RuntimeError: If the Hub does not answer.
    """
    with hub_errors(repo_id):
        validate_repo_id(repo_id)
        user = retried(HfApi(token=token).whoami)
    namespace = repo_id.split("/")[0] if "/" in repo_id else user["name"]
    may_write = {user["name"], *(org["name"] for org in user.get("orgs", ()) if org.get("roleInOrg") != "read")}
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise InputError("Your token of the Hub can only read; use one with write permission.")
    if namespace not in may_write:
        raise InputError(
            f"You are {user['name']!r} on the Hub and may not write to {namespace!r}; name a repository of yours."
        )


def _open_repository(api: HfApi, repo_id: str, private: bool | None, create_pr: bool, revision: str | None) -> str:
    with hub_errors(repo_id):
        validate_repo_id(repo_id)
        if create_pr:
            # To somebody else's repository, where nothing can be made.
            info = retried(api.model_info, repo_id)
        else:
            repo_id = retried(api.create_repo, repo_id, private=private, exist_ok=True).repo_id
            info = retried(api.model_info, repo_id)
        if private is not None and info.private is not None and bool(info.private) != private:
            found, asked = ("private", "public") if info.private else ("public", "private")
            raise InputError(f"{repo_id!r} exists and is {found}, not {asked}; change that in its settings first.")
        if revision is not None and not revision.startswith("refs/"):
            retried(api.create_branch, repo_id, branch=revision, exist_ok=True)
    return repo_id


def _merge(api: HfApi, head: ModelInfo, text: str) -> str:
    if CARD_FILE not in _names(head):
        return text
    path = hf_hub_download(head.id, CARD_FILE, revision=head.sha, token=api.token, endpoint=api.endpoint)
    try:
        return merge_cards(Path(path).read_text(encoding="utf-8"), text)
    except ValueError as error:
        raise InputError(f"The card of {head.id!r} cannot be updated: {error}; repair it on the Hub.") from None


def _is_stale(name: str) -> bool:
    return is_loaded(name) or name == SIGNATURE_FILE


def _names(head: ModelInfo) -> list[str]:
    return [item.rfilename for item in head.siblings or ()]
