"""One commit on the Hub: weights, tokenizer, card, report, manifest and figures, and nothing else."""

import hashlib
from dataclasses import dataclass
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
from .signing import SIGNATURE_FILE, sign


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
    api = HfApi(token=token)
    manifest, report, local_card = load_manifest(folder), load_report(folder), read_card(folder)
    check_files(folder, manifest, token or get_token() or "")
    repo_id = _open_repository(api, repo_id, private, create_pr, revision)
    card = DefenseCard(report, repo_id.split("/")[-1], repo_id)
    text, own = update_card(card, local_card)

    def commit() -> Published:
        # All of it is done anew at each attempt. If somebody committed in between, there may be another card; if that
        # was ourselves, because only the answer of the Hub was lost, nothing is left to change.
        head = api.model_info(repo_id, revision=revision)
        operations = _additions(folder, manifest, _merge(api, head, text), own.keys, sign_key)
        names = tuple(operation.path_in_repo for operation in operations)
        removed = tuple(name for name in _names(head) if _is_stale(name) and name not in names)
        made = api.create_commit(
            repo_id,
            [*operations, *(CommitOperationDelete(name) for name in removed)],
            commit_message=commit_message or "Add a model purified with hf-finemix",
            revision=revision,
            create_pr=create_pr,
            parent_commit=head.sha,
        )
        return Published(repo_id, made.commit_url, made.oid, made.pr_url, names, removed)

    with hub_errors(repo_id):
        return retried(commit, tries=_COMMITS)


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
    may_write = {user["name"], *(org["name"] for org in user.get("orgs", ()))}
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise InputError("Your token of the Hub can only read; use one with write permission.")
    if namespace not in may_write:
        raise InputError(
            f"You are {user['name']!r} on the Hub and no member of {namespace!r}; name a repository of yours."
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


def _additions(
    folder: Path, manifest: Manifest, text: str, keys: tuple[str, ...], sign_key: str | Path | None
) -> list[CommitOperationAdd]:
    content = text.encode()
    card = FileRecord(CARD_FILE, len(content), hashlib.sha256(content).hexdigest())
    others = [file for file in manifest.outputs if file.name != CARD_FILE]
    whole = manifest.with_outputs([*others, card], seal(text, keys))
    additions = [CommitOperationAdd(file.name, str(folder / file.name)) for file in others]
    for addition, file in zip(additions, others, strict=True):
        # What is uploaded is what was read here; it must be what was checked before.
        if addition.upload_info.sha256.hex() != file.sha256:
            raise InputError(f"{file.name} in {str(folder)!r} changes while it is published; make the folder anew.")
    written = {CARD_FILE: content, MANIFEST_FILE: to_json(whole.to_dict()).encode()}
    if sign_key is not None:
        written[SIGNATURE_FILE] = sign({file.name: folder / file.name for file in others} | written, sign_key)
    return [*additions, *(CommitOperationAdd(name, text) for name, text in written.items())]


def _names(head: ModelInfo) -> list[str]:
    return [item.rfilename for item in head.siblings or ()]
