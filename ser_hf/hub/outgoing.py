"""The files of a run that leave this machine, checked and made fit for other people to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b, file_digest
from pathlib import Path

import yaml

from ..evaluation.tables import PredictionTable
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
    TEST,
    TRAINING_CURVES,
    VALIDATION,
    fold_folders,
    one_line,
)
from ..report.report import EvaluationReport
from ..splits.ledger import Ledger
from ..splits.pseudonyms import is_public, pseudonym

NEEDED = (CONFIG, PREPROCESSOR, CARD, REPORT)
# What is published of a run, beside the code files that its auto_map names. Not training_args.bin: a pickle, which runs
# code when it is opened. Not predictions.parquet and validation.parquet: utterance by utterance they hold the ids,
# labels, speakers, ages and genders of a corpus, which most licences forbid to pass on. The report shows counts and
# rates of them, and the id of one utterance for each of its worst confusions (`example`); the ledger names the speakers
# that the model was trained on, and a hash of every recording: they decide which recordings it may be tested on.
PUBLISHED = (
    *NEEDED, "model*.safetensors", "model.safetensors.index.json", REPORT_MARKDOWN, CONFUSION, COST, FORGETTING,
    FORGETTING_MARKDOWN, HISTORY, LEDGER, METRICS_CSV, OPTIONS, TRAINING_CURVES,
)  # fmt: skip
# Paths of a machine: from the root of a disk (/home/ann/run, --/home/ann/run, C:/ann/run, C:\run, behind file://), of
# a server (\\server\share), of a home (~/run, ~ann/run, $HOME/run, %USERPROFILE%), and out of the folder (../../run).
# Not the slash of ravdess/si6, https:// or </details>.
_MACHINE_PATH = re.compile(
    "|".join(
        (
            r"\bfile:/[\w./~-]+",
            r"(?:(?<![\w/.<~])(?<!\w-)|(?<=//))/[\w.~-]+/[\w./~-]*",  # from the root
            r"(?<![\w/.<~])/(?:root|home|Users|mnt|scratch)\b",
            r"(?<!\w)[A-Za-z]:[\\/]+\w[^\s\"']*",
            r"(?<![\w\\])\\\\+[\w.-]+\\+[\w$.-]+[^\s\"']*",  # of a server
            r"(?<![\w/.~])~(?!\d)[\w.-]*/[\w.][\w./-]*",  # of a home
            r"(?:\$\{?(?:HOME|PWD|SCRATCH|WORK|TMPDIR)\}?|%[A-Z]+%)[/\\]+[\w./\\-]*",
            r"(?<![\w/.])(?:\.\.[/\\]+)+[\w.][\w./\\-]*",  # out of the folder
        )
    )
)


class HubError(ValueError):
    """The error for a run that cannot be published; the message says why and what to do."""


def files_to_publish(folder: Path) -> list[str]:
    """Return the names of the files to publish, after every check that needs no Hub.

    Raises:
        HubError: if the folder is not a finished run that may be published.
    """
    if not folder.is_dir():
        raise HubError(f"there is no run folder {folder}: pass the folder of a finished run")
    here = [path.name for path in folder.iterdir() if path.is_file()]
    for name in here:
        if (folder / name).is_symlink() and (name.endswith(".py") or is_published(name)):
            raise HubError(
                f"{folder / name} is a link to {(folder / name).readlink()}: only regular files are published; put a "
                "copy of the file in its place, or remove the link"
            )
    if CONFIG not in here and (folds := [one.name for one in fold_folders(folder, CONFIG)]):
        raise HubError(f"{folder} contains several models: publish one of its folders {', '.join(folds)}")
    absent = [name for name in NEEDED if name not in here]
    if not any(fnmatchcase(name, "model*.safetensors") for name in here):
        absent.append("model.safetensors")
    if absent:
        raise HubError(
            f"{folder} is not a finished run: it has no {', '.join(absent)}. Run the training to its end first"
        )
    config = _read_json(folder / CONFIG)
    _check_model(folder, config)
    names = [name for name in here if is_published(name)]
    for name in names:
        _check_text(folder / name)
    _read_card(folder / CARD)
    return sorted({*names, *_code_files(folder, config)})


def is_published(name: str) -> bool:
    """True for a file name of `PUBLISHED`."""
    return any(fnmatchcase(name, pattern) for pattern in PUBLISHED)


def _check_model(folder: Path, config: Mapping) -> None:
    """Raise a `HubError` for anything but a trained classifier of the report's classes with all of its weights."""
    from safetensors import SafetensorError, safe_open

    is_classifier = any("Classification" in name for name in config.get("architectures") or ())
    if not is_classifier or config.get("head_is_trained", True) is False:
        raise HubError(f"the emotion head of {folder} is not trained, so its scores are noise: train it first")
    _read_json(folder / REPORT)
    classes = EvaluationReport.read(folder / REPORT).classes
    labels = [label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]
    if labels != classes:
        raise HubError(
            f"the report of {folder} has the classes {', '.join(classes)}, but its model has {', '.join(labels)}: "
            "run `ser-hf report` again"
        )
    index = folder / "model.safetensors.index.json"
    weights = sorted(set(_read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    for name in weights:
        try:
            with safe_open(folder / name, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise HubError(
                f"the weights {folder / name} are damaged or missing ({one_line(error)}): save the model again"
            ) from error


def _code_files(folder: Path, config: Mapping) -> set[str]:
    """Return the modules that `trust_remote_code` runs: those in the `auto_map`s, and what they import."""
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
    """Raise a `HubError` for paths of this machine in texts for others, who could learn a user's name from them."""
    if path.suffix in (".md", ".json", ".yaml", ".csv"):
        try:
            text = _published_options(path) if path.name == OPTIONS else path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise HubError(f"{path} is not text in UTF-8 ({one_line(error)}): write it again") from error
        if found := _MACHINE_PATH.search(text.replace("\\/", "/")):  # JSON may escape a slash
            raise HubError(f"{path} contains {found[0]}, a path of this machine: remove it")


def _read_card(path: Path):
    from huggingface_hub import ModelCard

    try:
        card = ModelCard.load(path)
    except (ValueError, yaml.YAMLError) as error:
        raise HubError(f"{path} has no valid front matter ({one_line(error)}): correct it") from error
    if card.data.get("pipeline_tag") != "audio-classification":
        raise HubError(f"{path} has no `pipeline_tag: audio-classification` in its front matter: add it")
    return card


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} is not JSON ({one_line(error)}): save the run again") from error


def as_published(path: Path, repo_id: str, people: People) -> Path | bytes:
    """Return what is sent of a file: itself, or its content changed for others."""
    if path.name == CARD:
        return people.hidden_in(_card_named(path, repo_id)).encode("utf-8")
    if path.name == OPTIONS:
        return _published_options(path).encode("utf-8")
    if path.name == LEDGER:
        return Ledger.read(path).under_pseudonyms(people.salt).to_json().encode("utf-8")
    if path.suffix in (".md", ".json", ".csv") and people.names:
        return people.hidden_in(path.read_text(encoding="utf-8")).encode("utf-8")
    return path


@dataclass(frozen=True)
class People:
    """The people in own recordings of a run, and what is published of them.

    Attributes:
        salt: of this model; hexadecimal digits that follow from its weights.
        names: true names of speakers and utterances, and the pseudonyms that others see.
        said: sentences about personal data that goes out, for the owner of the recordings.
    """

    salt: str
    names: Mapping[str, str]
    said: Sequence[str]

    @classmethod
    def of_run(cls, folder: Path) -> People:
        """Return the people that the ledger and the prediction tables of a run name."""
        digest = blake2b(digest_size=8)
        for file in sorted(folder.glob("model*.safetensors")):
            with file.open("rb") as weights:
                digest.update(file_digest(weights, "sha256").digest())
        salt, ledger = digest.hexdigest(), folder / LEDGER
        trainings = Ledger.read(ledger).trainings if ledger.is_file() else ()
        speakers = {name for one in trainings if not one.salt for part in one.speakers.values() for name in part}
        utterances = set()
        for table in (folder / TEST, folder / VALIDATION):
            if table.is_file():
                rows = PredictionTable.read(table).rows
                utterances |= set(rows["utterance_id"])
                speakers |= set(rows["speaker"].dropna())
        names = {name: pseudonym(name, salt) for name in {*speakers, *utterances} if not is_public(name)}
        own = sorted({corpus for one in trainings for corpus in one.corpora if not is_public(f"{corpus}-")})
        hidden = sum(name in names for name in speakers)
        recordings = sum(len(part) for one in trainings if set(one.corpora) & set(own) for part in one.audio.values())
        said = (
            f"{LEDGER}: {hidden} speakers of {', '.join(own)} under pseudonyms (salted hashes of their names), and a "
            f"hash and a mark of each of {recordings} recordings, by which somebody who has a recording can tell that "
            "it was trained on"
        )
        return cls(salt, names, [said] if own else [])

    def hidden_in(self, text: str) -> str:
        """Return a text with pseudonyms for names."""
        written = {form: hidden for name, hidden in self.names.items() for form in (name, json.dumps(name)[1:-1])}
        # Longer names first, because they may contain shorter ones.
        there = sorted((form for form in written if form in text), key=len, reverse=True)
        if not there:
            return text
        whole = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, there))})(?!\w)")
        return whole.sub(lambda found: written[found[0]], text)


def _card_named(path: Path, repo_id: str) -> str:
    """Return the card with the name of the repository in its title, its model-index and its example."""
    card = _read_card(path)
    local, name = card.data.model_name, repo_id.split("/")[-1]
    card.data.model_name = name
    text = card.text.replace(f"\n# {local}\n", f"\n# {name}\n", 1)
    card.text = re.sub(r'(pipeline\("audio-classification", model=)"[^"]*"', rf'\1"{repo_id}"', text)
    return str(card)


def _published_options(path: Path) -> str:
    """Return `run.yaml` without tokens, and with only the last part of each folder."""
    try:
        options = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (ValueError, yaml.YAMLError) as error:
        raise HubError(f"{path} does not list options in YAML ({one_line(error)}): correct or remove it") from error
    public = {key: _without_folder(value) for key, value in options.items() if not key.endswith("_token")}
    return yaml.safe_dump(public, sort_keys=True)


def _without_folder(value):
    """Return an option with only the last part of a folder, also in a list.

    >>> _without_folder(["/data/RAVDESS", "ravdess=/data/RAVDESS", "ravdess/si6"])
    ['RAVDESS', 'ravdess=RAVDESS', 'ravdess/si6']
    """
    if isinstance(value, list):
        return [_without_folder(item) for item in value]
    if not isinstance(value, str):
        return value
    name, equals, path = value.rpartition("=")
    last = re.split(r"[/\\]+", path.rstrip("/\\"))[-1]
    return f"{name}{equals}{last}" if _MACHINE_PATH.match(path) else value
