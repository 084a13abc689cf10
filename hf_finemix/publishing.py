"""One commit on the Hub: weights, tokenizer, card, report, manifest and figures, and nothing else."""

import hashlib
from dataclasses import dataclass, field, replace
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
from transformers.trainer import TRAINING_ARGS_NAME

from .card import DefenseCard, read_card, update_card
from .card_merge import card_title, merge_cards, seal, split_card
from .errors import InputError
from .hashes import FileRecord
from .html_report.page import HTML_FILE, render_html
from .hub_errors import hub_errors, retried
from .licenses import common_license, license_id
from .loading import CARD_FILE
from .manifest import MANIFEST_FILE, Manifest, load_manifest
from .publishable import check_files, is_conversion, is_loaded
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
        removed (`tuple[str, ...]`): Files that the commit took away: what would be loaded with the model, an old
            signature, the pickle of `Trainer`'s arguments.
        conversions (`tuple[str, ...]`): Files that are still there, with other weights in the form of other programs.
    """

    repo_id: str
    commit_url: str
    oid: str
    pr_url: str | None
    files: tuple[str, ...]
    removed: tuple[str, ...]
    conversions: tuple[str, ...] = ()


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
        RuntimeError: If the Hub does not answer, or not as it should; another call finishes what was begun.
    """
    folder = Path(folder)
    if revision and create_pr:
        raise InputError("--revision and --create-pr exclude each other; a pull request goes to the default branch.")
    if sign_key is not None:
        signer(sign_key)
    api = HfApi(token=token)
    manifest, report, local_card = load_manifest(folder), load_report(folder), read_card(folder)
    check_files(folder, manifest, token or get_token() or "")
    # What cannot be rendered is noticed before a repository is made, whose full name the right card and page need.
    update_card(DefenseCard(report, folder.absolute().name), local_card)
    if any(file.name == HTML_FILE for file in manifest.outputs):
        render_html(folder.absolute().name, report, manifest)
    repo_id = _open_repository(api, repo_id, private, create_pr, revision)
    named = card_title(local_card) if local_card is not None else None
    title = repo_id.split("/")[-1] if named in (None, folder.absolute().name) else named
    push = _Push(
        api=api,
        folder=folder,
        repo_id=repo_id,
        manifest=manifest,
        card=DefenseCard(report, title, repo_id),
        local_card=local_card,
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
    card: DefenseCard
    local_card: str | None
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
        additions = self.additions(*self.merged_card(head))
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
        others = tuple(filter(is_conversion, _names(head)))
        return Published(self.repo_id, made.commit_url, made.oid, made.pr_url, names, tuple(self.removed), others)

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

    def merged_card(self, head: ModelInfo) -> tuple[str, tuple[str, ...]]:
        """Returns the card with what its owner wrote here and on the Hub, and the keys of it that are generated."""
        path = remote = None
        if CARD_FILE in _names(head):
            options = {"revision": head.sha, "token": self.api.token, "endpoint": self.api.endpoint}
            path = hf_hub_download(head.id, CARD_FILE, **options)
        try:
            remote = None if path is None else Path(path).read_text(encoding="utf-8-sig")
            texts = (self.local_card, remote)
            here, there = (license_id(split_card(text)[0].get("license")) if text else None for text in texts)
            # A licence that was asked for here goes before the one on the Hub, and that before what both inputs share.
            asked = None if here == common_license(self.card.report.licenses) else here
            text, own = update_card(replace(self.card, license=asked or there), self.local_card)
            return text if remote is None else merge_cards(remote, text, ("license",) if asked else ()), own.keys
        except ValueError as error:
            reason = f"The card of {self.repo_id!r} cannot be updated: {error}; repair it on the Hub."
            raise InputError(reason) from None

    def additions(self, text: str, keys: tuple[str, ...]) -> list[CommitOperationAdd]:
        """Returns all files of the model, with the card as it is to be."""
        others = [file for file in self.manifest.outputs if file.name not in (CARD_FILE, HTML_FILE)]
        written = {CARD_FILE: text.encode()}
        if len(others) + 1 < len(self.manifest.outputs):
            # Without the examples, which are texts of the user's.
            written[HTML_FILE] = render_html(self.card.title, self.card.report, self.manifest).encode()
        made = [FileRecord(name, len(item), hashlib.sha256(item).hexdigest()) for name, item in written.items()]
        whole = self.manifest.with_outputs([*others, *made], seal(text, keys))
        additions = [CommitOperationAdd(file.name, str(self.folder / file.name)) for file in others]
        for addition, file in zip(additions, others, strict=True):
            # What is uploaded is what was read here; it must be what was checked before.
            if addition.upload_info.sha256.hex() != file.sha256:
                raise InputError(
                    f"{file.name} in {str(self.folder)!r} changes while it is published; make the folder anew."
                )
        written[MANIFEST_FILE] = to_json(whole.to_dict()).encode()
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


def _is_stale(name: str) -> bool:
    # The last is a pickle that `Trainer` uploads, maybe with a token in it.
    return is_loaded(name) or name in (SIGNATURE_FILE, TRAINING_ARGS_NAME)


def _names(head: ModelInfo) -> list[str]:
    return [item.rfilename for item in head.siblings or ()]
