"""Publish a saved run on the Hugging Face Hub, in one commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.utils import logging

from ..files import LOCK, REPORT, FolderLock, one_line
from ..report.report import EvaluationReport
from .outgoing import HubError, People, as_published, files_to_publish, is_published

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.get_logger(__name__)

PASSING = (408, 429, 500, 502, 503, 504)  # answers of a Hub that has too much to do
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)  # between attempts


@dataclass(frozen=True)
class Publication:
    """The result of a push or of a dry run.

    Attributes:
        repo_id: the repository, user/name.
        files: size of each file in bytes, by its path in the repository.
        left_out: names of the files and folders of the run that are not published.
        url: URL of the commit; None after a dry run.
        personal: sentences about personal data in the files.
    """

    repo_id: str
    files: Mapping[str, int]
    left_out: Sequence[str]
    url: str | None
    personal: Sequence[str] = ()


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    dry_run: bool = False,
    token: str | None = None,
) -> Publication:
    """Publish a folder of `save_run` on the Hugging Face Hub: `PUBLISHED` and the model's code, in one commit.

    Everything is checked before anything is sent. The folder is not changed: only the published card gets the name of
    the repository, and only the published `run.yaml` names folders by their last part. Names of people and recordings
    are published as pseudonyms, except those of public corpora; the model still knows them again. Files of `PUBLISHED`
    that an earlier run left in the repository are deleted in the same commit.

    Args:
        repo_id: user/name; a bare name belongs to the account that is logged in. A new repository is created.
        private: True makes a new repository visible only to its owner; default: the setting of the account.
        dry_run: only list the files that would be sent; needs no network and no token.
        token: token of the Hub; default: that of `hf auth login` or $HF_TOKEN.

    Raises:
        HubError: if the folder is not a finished run with a trained model, if a file contains a path of this machine,
            if nobody is logged in, or if the Hub refuses; in all cases nothing is published.
    """
    folder = Path(folder)
    _check_name(repo_id)
    names = files_to_publish(folder)
    # The lock keeps a training from changing the files meanwhile; a folder that cannot be written needs none.
    with nullcontext() if dry_run or not os.access(folder, os.W_OK) else FolderLock(folder):
        if not dry_run:
            repo_id = check_destination(repo_id, token=token)
        people = People.of_run(folder)
        contents = {name: as_published(folder / name, repo_id, people) for name in names}
        url = None if dry_run else _commit(folder, repo_id, contents, private, token)
    sizes = {name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in contents.items()}
    rest = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir() if path.name != LOCK)
    return Publication(repo_id, sizes, [name for name in rest if name not in contents], url, people.said)


def check_destination(repo_id: str, *, token: str | None = None) -> str:
    """Return the full name user/name of a repository to publish in, after asking the Hub for the owner of the token.

    Raises:
        HubError: if the name is invalid, if nobody is logged in, or if the token may not write there.
    """
    from huggingface_hub import HfApi, get_token

    _check_name(repo_id)
    if not (token or get_token()):
        raise HubError("you are not logged in to the Hugging Face Hub: run `hf auth login` or set HF_TOKEN")
    try:
        account = _with_patience(HfApi(token=token).whoami)
    except _hub_errors() as error:
        raise HubError(
            f"could not verify your token ({_reason(error)}): run `hf auth login` again, or try later"
        ) from error
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise HubError("your token can only read: make a token that can write, and run `hf auth login` again")
    if "/" not in repo_id:
        return f"{account['name']}/{repo_id}"
    owner, known = repo_id.split("/")[0], [account["name"], *(group["name"] for group in account.get("orgs", []))]
    if role == "write" and owner not in known:  # what a fine-grained token may do, only the Hub knows
        raise HubError(f"you cannot publish as {owner!r}: your token belongs to {' or '.join(known)}")
    return repo_id


def destination_of_run(arguments: TrainingArguments, *, folds: Sequence[int]) -> str | None:
    """Return `check_destination` for the options of a recipe; None if this process publishes nothing.

    A recipe asks before the training, which may take hours.

    Raises:
        HubError: as `check_destination`, and for several folds.
    """
    if not (arguments.push_to_hub and arguments.should_save):
        return None
    if len(folds) > 1 or -1 in folds:
        raise HubError("--push_to_hub needs one fold: several folds are several models; use --folds 0")
    return check_destination(arguments.hub_model_id or Path(arguments.output_dir).name, token=arguments.hub_token)


def _check_name(repo_id: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is not a repository name such as user/name: {one_line(error)}") from None


def _commit(
    folder: Path, repo_id: str, contents: Mapping[str, Path | bytes], private: bool | None, token: str | None
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    report = EvaluationReport.read(folder / REPORT)
    api = HfApi(token=token)

    def commit() -> str:
        api.create_repo(repo_id, private=private, exist_ok=True)
        there = api.model_info(repo_id)
        if private and not there.private:
            raise HubError(f"{repo_id} exists and is public: make it private on the Hub, or choose another name")
        names = [file.rfilename for file in there.siblings]
        stale = [name for name in names if name not in contents and is_published(name)]
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=what) for name, what in contents.items()),
                *(CommitOperationDelete(path_in_repo=name) for name in stale),
            ],
            commit_message=f"{report.model}: UAR {report.rate('uar')} on {report.protocol}",
            commit_description=report.headline,
        ).commit_url

    try:
        return _with_patience(commit)
    except HubError:
        raise
    except _hub_errors() as error:
        raise HubError(
            f"{folder} could not be published as {repo_id} ({_reason(error)}); nothing was published, because a "
            "commit is whole or not made at all: run the same command again"
        ) from error


def _with_patience(ask: Callable[[], Any]) -> Any:
    """Ask the Hub, again after each passing failure, as its client does when it downloads.

    A commit whose answer was lost is made once: its repetition changes no file.
    """
    for wait in WAITS_SECONDS:
        try:
            return ask()
        except HubError:
            raise
        except _hub_errors() as error:
            if not _is_passing(error):
                raise
            logger.warning(f"the Hub did not take it ({_reason(error)}): trying again in {wait:.0f} s")
            time.sleep(wait)
    return ask()


def _is_passing(error: Exception) -> bool:
    """True for failures that a later attempt may not meet: an overloaded Hub, a lost connection."""
    from huggingface_hub.errors import HTTPError

    error = _unwrapped(error)
    if (response := getattr(error, "response", None)) is not None:
        return response.status_code in PASSING
    return isinstance(error, (HTTPError, ConnectionError, TimeoutError))


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors of huggingface_hub: its own, those of its HTTP library, and those of its upload threads."""
    from huggingface_hub.errors import HTTPError  # httpx's or httpx2's, as its version has it

    return HTTPError, OSError, RuntimeError, ValueError


def _reason(error: Exception) -> str:
    """Return one line about an error of the Hub."""
    error = _unwrapped(error)
    if (response := getattr(error, "response", None)) is not None:
        return f"{response.status_code} {one_line(getattr(error, 'server_message', None) or response.reason_phrase)}"
    return one_line(error)


def _unwrapped(error: Exception) -> Exception:
    """Return the cause of "Error while uploading", which tells more; any other error as it is."""
    return error.__cause__ if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception) else error
