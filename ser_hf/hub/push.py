"""A saved run is a working Hub folder: weights, configuration, extractor, code, card and report, side by side.

`save_run` writes it, `push` publishes it, and nothing else of the folder, in one commit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..evaluation.metrics import METRICS
from ..files import (
    CARD,
    CONFIG,
    CONFUSION,
    COST,
    FORGETTING,
    FORGETTING_MARKDOWN,
    HISTORY,
    LEDGER,
    METRICS_CSV,
    OPTIONS,
    PREPROCESSOR,
    REPORT,
    REPORT_MARKDOWN,
    TRAINING_CURVES,
)
from ..report.cost import write_cost
from ..report.report import EvaluationReport

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from transformers import FeatureExtractionMixin, PreTrainedModel, TrainingArguments

    from ..report.runs import RunTables


NEEDED = (CONFIG, PREPROCESSOR, CARD, REPORT)
# What is published of a run, beside the code files that its auto_map names. Not training_args.bin: a pickle, which runs
# code when it is opened. Not predictions.parquet and validation.parquet: utterance by utterance they hold the ids,
# labels, speakers, ages and genders of a corpus, which most licences forbid to pass on. The report shows counts and
# rates of them, and the id of one utterance for each of its worst confusions (`example`); the ledger names the speakers
# that the model has heard and a hash of every recording, without which nobody could tell whom it may be tested on.
PUBLISHED = (
    *NEEDED, "model*.safetensors", "model.safetensors.index.json", REPORT_MARKDOWN, CONFUSION, COST, FORGETTING,
    FORGETTING_MARKDOWN, HISTORY, LEDGER, METRICS_CSV, OPTIONS, TRAINING_CURVES,
)  # fmt: skip
# A path from the root of a disk, as /home/ann/run, --/home/ann/run, C:/ann/run, C:\\run or behind file://: not the
# slash of ravdess/si6, https:// or </details>.
_MACHINE_PATH = re.compile(
    r"\bfile:/[\w./~-]+|(?:(?<![\w/.<~])(?<!\w-)|(?<=//))/[\w.~-]+/[\w./~-]*|\b[A-Za-z]:\\+\w[^\s\"']*"
)


class HubError(ValueError):
    """A run that cannot be published; the message says why and what to do."""


def save_run(
    folder: str | Path,
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    tables: RunTables,
    *,
    base_model: str,
) -> EvaluationReport:
    """Writes model, extractor, prediction tables, report, cost and card; returns the report.

    The folder works in `pipeline("audio-classification", model=folder)`; families of ours bring their code along and
    need `trust_remote_code=True` where ser_hf is not installed.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    report = tables.report()
    report.write(folder)
    write_cost(folder)
    write_card(folder, report, base_model=base_model, languages=tables.test.rows["language"].dropna().unique())
    tables.write(folder)  # last: a folder that holds its predictions is finished, whenever the run is killed
    return report


def write_card(folder: Path, report: EvaluationReport, *, base_model: str, languages: Iterable[str] = ()) -> None:
    """Renders `README.md` of a saved model from the template and its report."""
    from huggingface_hub import ModelCard, ModelCardData

    facts = report.to_dict()
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    name = folder.resolve().name
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "ser_hf"],
        language=sorted(set(languages)) or None,
        metrics=[metric.hub_name or name for name, metric in METRICS.items()],
        eval_results=eval_results(facts),
    )
    card = ModelCard.from_template(
        data,
        template_str=_template("model_card.md"),
        model_name=name,
        model_id=name,
        classes=facts["classes"],
        report=facts,
        results=(folder / REPORT_MARKDOWN).read_text(encoding="utf-8").strip(),
        base_model=base_model,
        needs_code="auto_map" in config,
    )
    card.save(folder / "README.md")


def eval_results(facts: Mapping) -> list[EvalResult]:
    """The report's rates as the Hub's `EvalResult`s, with protocol, n and interval in their names."""
    from huggingface_hub import EvalResult

    results = []
    for metric, rate in facts["rates"].items():
        interval = rate["interval"]
        span = "no interval" if interval is None else f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
        results.append(
            EvalResult(
                task_type="audio-classification",
                task_name="Speech emotion recognition",
                dataset_type=", ".join(facts["corpora"]),
                dataset_name=", ".join(facts["corpora"]),
                dataset_config=facts["protocol"],
                dataset_split="test",
                metric_type=metric,
                metric_name=f"{METRICS[metric].title}, n = {facts['n']}, {span}",
                metric_value=round(rate["value"], 4),
            )
        )
    return results


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        repo_id: the repository, user/name.
        files: bytes of each file, by its path in the repository.
        left_out: what else lies in the run folder and stays there.
        url: of the commit; None after a dry run.
    """

    repo_id: str
    files: Mapping[str, int]
    left_out: Sequence[str]
    url: str | None


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    dry_run: bool = False,
    token: str | None = None,
) -> Publication:
    """Publishes what `save_run` wrote on the Hugging Face Hub: `PUBLISHED` and the model's code, in one commit.

    All is checked before anything is sent. The folder stays as it is: only the published card is called by the
    repository's name, and only the published `run.yaml` names folders of this machine by their last part. What of
    `PUBLISHED` an earlier run has left in the repository is deleted in the same commit.

    Args:
        repo_id: user/name; a bare name belongs to whoever is logged in. It is created where it does not exist.
        private: whether only its owner shall see a new repository; None: as the account has it.
        dry_run: only say what would be sent, without a network and without a token.
        token: of the Hub; default: that of `hf auth login` or $HF_TOKEN.

    Raises:
        HubError: if the folder is no finished run with a trained model, if something in it names a folder of this
            machine, if nobody is logged in, or if the Hub refuses; in all cases nothing is published.
    """
    folder = Path(folder)
    _check_name(repo_id)
    names = _publishable(folder)
    if not dry_run:
        repo_id = check_destination(repo_id, token=token)
    contents = {name: _as_published(folder / name, repo_id) for name in names}
    url = None if dry_run else _commit(folder, repo_id, contents, private, token)
    sizes = {name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in contents.items()}
    rest = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    return Publication(repo_id, sizes, [name for name in rest if name not in contents], url)


def check_destination(repo_id: str, *, token: str | None = None) -> str:
    """The full name user/name of a repository to publish in, after asking the Hub whose the token is.

    Raises:
        HubError: if the name is none, if nobody is logged in, or if the token may not write there.
    """
    from huggingface_hub import HfApi, get_token

    _check_name(repo_id)
    if not (token or get_token()):
        raise HubError("you are not logged in to the Hugging Face Hub: run `hf auth login` or set HF_TOKEN")
    try:
        account = HfApi(token=token).whoami()
    except _hub_errors() as error:
        raise HubError(
            f"the Hub does not say whose your token is ({_reason(error)}): run `hf auth login` again, or try later"
        ) from error
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise HubError("your token of the Hub may only read: make one that may write, and run `hf auth login` again")
    if "/" not in repo_id:
        return f"{account['name']}/{repo_id}"
    owner, known = repo_id.split("/")[0], [account["name"], *(group["name"] for group in account.get("orgs", []))]
    if role == "write" and owner not in known:  # what a fine-grained token may do, only the Hub knows
        raise HubError(f"{owner!r} is not yours to publish in: your token is that of {' or '.join(known)}")
    return repo_id


def destination_of_run(arguments: TrainingArguments, *, folds: Sequence[int]) -> str | None:
    """`check_destination` for a recipe, before hours of training; None where this process publishes nothing.

    Raises:
        HubError: as `check_destination`, and for several folds.
    """
    if not (arguments.push_to_hub and arguments.should_save):
        return None
    if len(folds) > 1 or -1 in folds:
        raise HubError("push_to_hub: several folds are several models; train one (--folds 0) to publish it")
    return check_destination(arguments.hub_model_id or Path(arguments.output_dir).name, token=arguments.hub_token)


def _check_name(repo_id: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is no name of a repository, such as user/name: {_one_line(error)}") from None


def _publishable(folder: Path) -> list[str]:
    """Names of the files to publish, after everything that can be checked without the Hub."""
    if not folder.is_dir():
        raise HubError(f"there is no run folder {folder}")
    here = [path.name for path in folder.iterdir() if path.is_file()]
    if CONFIG not in here and (folds := sorted(path.parent.name for path in folder.glob(f"fold*/{CONFIG}"))):
        raise HubError(f"{folder} holds several models: publish one of its folders {', '.join(folds)}")
    absent = [name for name in NEEDED if name not in here]
    if not any(fnmatchcase(name, "model*.safetensors") for name in here):
        absent.append("model.safetensors")
    if absent:
        raise HubError(f"{folder} is no finished run, for it has no {', '.join(absent)}: train it to its end first")
    config = _read_json(folder / CONFIG)
    _check_model(folder, config)
    names = [name for name in here if any(fnmatchcase(name, pattern) for pattern in PUBLISHED)]
    for name in names:
        _check_text(folder / name)
    _read_card(folder / "README.md")
    return sorted({*names, *_code_files(folder, config)})


def _check_model(folder: Path, config: Mapping) -> None:
    """A trained classifier of the report's classes, with all of its weights."""
    from safetensors import SafetensorError, safe_open

    is_classifier = any("Classification" in name for name in config.get("architectures") or ())
    if not is_classifier or config.get("head_is_trained", True) is False:
        raise HubError(f"the emotion head of {folder} is not trained: its scores would be noise")
    _read_json(folder / REPORT)
    classes = EvaluationReport.read(folder / REPORT).classes
    labels = [label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]
    if labels != classes:
        raise HubError(f"{folder} reports on {', '.join(classes)}, but its model knows {', '.join(labels)}")
    index = folder / "model.safetensors.index.json"
    weights = sorted(set(_read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    for name in weights:
        try:
            with safe_open(folder / name, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise HubError(f"the weights {folder / name} are damaged or missing ({_one_line(error)})") from error


def _code_files(folder: Path, config: Mapping) -> set[str]:
    """Modules that `trust_remote_code` runs: those in the auto_map of model and extractor, and what they import."""
    from transformers.dynamic_module_utils import get_relative_import_files

    maps = [config, _read_json(folder / PREPROCESSOR)]
    references = {reference for content in maps for reference in content.get("auto_map", {}).values()}
    modules = {folder / f"{reference.split('.')[0]}.py" for reference in references}
    try:
        files = {*modules, *(Path(file) for module in modules for file in get_relative_import_files(module))}
    except FileNotFoundError as error:
        raise HubError(f"{folder} lacks {Path(error.filename).name}, which its model needs: save it again") from error
    return {file.name for file in files}


def _check_text(path: Path) -> None:
    """Refuses folders of this machine in what people read: they help nobody, and tell the name of a user."""
    if path.suffix in (".md", ".json", ".yaml"):
        text = _published_options(path) if path.name == OPTIONS else path.read_text(encoding="utf-8")
        if found := _MACHINE_PATH.search(text):
            raise HubError(f"{path} names {found[0]}, a path of this machine that tells others nothing: take it out")


def _read_card(path: Path):
    from huggingface_hub import ModelCard

    try:
        card = ModelCard.load(path)
    except (ValueError, yaml.YAMLError) as error:
        raise HubError(f"{path} has no valid front matter ({_one_line(error)})") from error
    if card.data.get("pipeline_tag") != "audio-classification":
        raise HubError(f"{path} has no `pipeline_tag: audio-classification` in its front matter")
    return card


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} is not JSON ({error})") from error


def _as_published(path: Path, repo_id: str) -> Path | bytes:
    if path.name == "README.md":
        return _card_named(path, repo_id).encode("utf-8")
    if path.name == OPTIONS:
        return _published_options(path).encode("utf-8")
    return path


def _card_named(path: Path, repo_id: str) -> str:
    """The card with the repository's name for the folder's: in its title, its model-index and its example."""
    card = _read_card(path)
    local, name = card.data.model_name, repo_id.split("/")[-1]
    card.data.model_name = name
    text = card.text.replace(f"\n# {local}\n", f"\n# {name}\n", 1)
    card.text = re.sub(r'(pipeline\("audio-classification", model=)"[^"]*"', rf'\1"{repo_id}"', text)
    return str(card)


def _published_options(path: Path) -> str:
    """`run.yaml` without tokens, and with folders by their last part."""
    try:
        options = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (ValueError, yaml.YAMLError) as error:
        raise HubError(f"{path} is no list of options ({_one_line(error)})") from error
    public = {key: _without_folder(value) for key, value in options.items() if not key.endswith("_token")}
    return yaml.safe_dump(public, sort_keys=True)


def _without_folder(value):
    """/data/RAVDESS becomes RAVDESS, and ravdess=/data/RAVDESS ravdess=RAVDESS; also in a list."""
    if isinstance(value, list):
        return [_without_folder(item) for item in value]
    if not isinstance(value, str):
        return value
    name, equals, path = value.rpartition("=")
    return f"{name}{equals}{Path(path).name}" if os.path.isabs(path) else value


def _commit(
    folder: Path, repo_id: str, contents: Mapping[str, Path | bytes], private: bool | None, token: str | None
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    report = EvaluationReport.read(folder / REPORT)
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        there = api.model_info(repo_id)
        if private and not there.private:
            raise HubError(f"{repo_id} exists and is public: make it private on the Hub, or choose another name")
        stale = [
            file.rfilename
            for file in there.siblings
            if file.rfilename not in contents and any(fnmatchcase(file.rfilename, pattern) for pattern in PUBLISHED)
        ]
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=what) for name, what in contents.items()),
                *(CommitOperationDelete(path_in_repo=name) for name in stale),
            ],
            commit_message=f"{report.model}: UAR {report.rate('uar')} on {report.protocol}",
            commit_description=report.headline,
        ).commit_url
    except HubError:
        raise
    except _hub_errors() as error:
        raise HubError(
            f"{folder} could not be published as {repo_id} ({_reason(error)}); a commit is there whole or not at all, "
            "and the same command may be run again"
        ) from error


def _hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: its own errors, those of its HTTP library, and those of its upload threads."""
    from huggingface_hub.errors import HTTPError  # httpx's or httpx2's, as its version has it

    return HTTPError, OSError, RuntimeError, ValueError


def _reason(error: Exception) -> str:
    """One line of an error of the Hub."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # "Error while uploading", whose cause tells more
    if (response := getattr(error, "response", None)) is not None:
        return f"{response.status_code} {_one_line(getattr(error, 'server_message', None) or response.reason_phrase)}"
    return _one_line(error)


def _one_line(error: Exception | str) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _template(name: str) -> str:
    """A template: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parents[1]
    folder = here / "hub_cards" if (here / "hub_cards").is_dir() else here.parent / "hub_cards"
    return (folder / name).read_text(encoding="utf-8")
