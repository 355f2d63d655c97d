"""Augmentation: training utterances are altered a little at each draw; validation and test utterances never are.

An effect is a word such as `noise=5..20`, with a range in the unit of `WAVEFORM_EFFECTS`. Only rows that carry a `Draw`
are altered, and only the training part has such rows (`AugmentedRows`). Everything random follows from (seed, epoch,
utterance, number of earlier draws in this epoch, effect): interrupted runs, and runs on several processes, read the
same sound, and one effect more or less does not change the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..audio import AudioError, read_audio
from ..augmentation.effects import SAMPLING_RATE, WAVEFORM_EFFECTS
from ..augmentation.masking import mask_log_mel
from ..augmentation.mixing import cut_in, mix_up
from ..emotions import unknown_name
from ..models.family import caches_log_mel
from ..models.records import family_of
from ..sources.folders import AUDIO_SUFFIXES, files_below
from .balance import UtteranceSampler
from .columns import LOG_MEL_COLUMN

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

DRAW, PARTNER = "draw", "partner"
MIXES = ("mixup", "cutmix")
EFFECTS = (*WAVEFORM_EFFECTS, "specaugment", *MIXES)
_NUMBER = r"[+-]?\d+(?:\.\d*)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})(?:\.\.(?P<high>{_NUMBER}))?")


class Draw(NamedTuple):
    """One draw of a row of the training part: its index, the epoch, and the number of earlier draws in that epoch."""

    index: int
    epoch: int
    repetition: int


class Partner(NamedTuple):
    """The other half of a mix: the kind of mix, the share of the utterance itself in [0, 1], and the other row."""

    kind: str
    share: float
    row: Mapping


@dataclass(frozen=True)
class Setting:
    """The range from which a value is drawn evenly, and the recordings from which one is drawn."""

    low: float | None = None
    high: float | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """The effects on the training part and their probabilities.

    Attributes:
        waveform: settings of the `WAVEFORM_EFFECTS`, in their order.
        masks: of SpecAugment: how many of each kind, at most how many mel bins, at most how many frames.
        mixes: alpha of `MIXES`; the share that an utterance keeps is drawn from Beta(alpha, alpha).
        probability: of each effect for each utterance, in [0, 1].
        seed: of all draws.
        class_probabilities: of each class, in place of `probability`.
    """

    waveform: Mapping[str, Setting] = field(default_factory=dict)
    masks: tuple[int, int, int] | None = None
    mixes: Mapping[str, float] = field(default_factory=dict)
    probability: float = 0.5
    seed: int = 42
    class_probabilities: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, words: Sequence[str], *, probability: float = 0.5, seed: int = 42) -> Augmentation | None:
        """Return the augmentation of words such as `noise=5..20`, `specaugment=2x27x40`, `gsm`; None without words.

        Raises:
            ValueError: for an unknown or repeated effect, or a value that is missing, malformed or out of range.

        >>> Augmentation.parse(["noise=5..20", "mixup=0.2"]).waveform["noise"]
        Setting(low=5.0, high=20.0, files=())
        """
        found = {}
        for word in words:
            name, _, text = word.partition("=")
            if name not in EFFECTS:
                raise ValueError(f"augment: {unknown_name('effect', name, EFFECTS)}")
            if name in found:
                raise ValueError(f"augment: {name} is given twice; give it one range")
            if name in WAVEFORM_EFFECTS:
                found[name] = _setting(name, text)
            else:
                found[name] = _masks(text) if name == "specaugment" else _alpha(name, text)
        if not found:
            return None
        return cls(
            {name: found[name] for name in WAVEFORM_EFFECTS if name in found},
            found.get("specaugment"),
            {name: found[name] for name in MIXES if name in found},
            probability,
            seed,
        )

    def favouring_rare_classes(self, labels: Sequence[int], num_classes: int) -> Augmentation:
        """Return an augmentation with the probability 1 - (1 - p) n / N for a class of n utterances; N: largest class.

        Under `balance: class`, rarer classes are drawn more often. Every recording is then drawn unaltered equally
        often, and the additional draws are altered.

        >>> Augmentation(probability=0.2).favouring_rare_classes([0, 0, 1], 2).class_probabilities
        (0.2, 0.6)
        """
        counts = np.bincount(labels, minlength=num_classes)
        chances = 1 - (1 - self.probability) * counts / counts.max()
        return replace(self, class_probabilities=tuple(chances.round(12).tolist()))

    @property
    def fastest(self) -> float:
        """The greatest factor by which an utterance may become shorter, 1 or more."""
        # Either may befall an utterance without the other.
        factors = [max(1.0, self.waveform[name].high) for name in ("tempo", "speed") if name in self.waveform]
        return float(np.prod(factors))

    def check(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, columns: Sequence[str]) -> None:
        """Raise a ValueError if rows of these columns, or this model, cannot be augmented in this way."""
        cached = family_of(model).cached_input_of(model)
        if "audio" not in columns and cached in columns:
            raise ValueError(
                "augment: it would not reach precomputed embeddings of a frozen encoder: leave out --precomputed or "
                "--augment"
            )
        if "audio" not in columns and self.waveform:
            raise ValueError(
                f"augment: {', '.join(self.waveform)} cannot change precomputed log-mels: leave out --precomputed, or "
                "use only specaugment, mixup and cutmix"
            )
        if self.waveform and extractor.sampling_rate != SAMPLING_RATE:
            raise ValueError(
                f"augment: effects on recordings ({', '.join(self.waveform)}) need {SAMPLING_RATE} Hz, but this model "
                f"reads {extractor.sampling_rate} Hz: set its sampling_rate"
            )
        if self.masks is not None:
            if not masks_after_extraction(extractor) and not caches_log_mel(extractor):
                raise ValueError(
                    "augment: specaugment masks log-mel features, but this model has other inputs: leave it out; "
                    "HuBERT, wav2vec2 and WavLM mask inside, see mask_time_prob in their configuration"
                )
            if self.masks[1] >= extractor.feature_size:
                raise ValueError(
                    f"augment: a mask of specaugment may cover {self.masks[1]} mel bins, but there are only "
                    f"{extractor.feature_size}: use a smaller number"
                )

    def alters_waveform(self, row: Mapping) -> bool:
        """True if any effect alters the recording of this row of `AugmentedRows` in this draw."""
        return any(self._chance(name, row) is not None for name in self.waveform)

    def alter_waveform(self, waveform: np.ndarray, row: Mapping) -> np.ndarray:
        """Return the altered recording of a draw: float32, at `SAMPLING_RATE`. Silence is not changed."""
        if not waveform.any():
            return waveform
        altered = waveform.astype(np.float64)
        for name, setting in self.waveform.items():
            random = self._chance(name, row)
            if random is None:
                continue
            effect = WAVEFORM_EFFECTS[name]
            value = None if setting.low is None else random.uniform(setting.low, setting.high)
            if setting.files:
                recording = _recording(setting.files[random.integers(len(setting.files))])
                altered = effect.function(altered, value, random, recording)
            else:
                altered = effect.function(altered, value, random)
        return altered.astype(np.float32)

    def mask(self, log_mel: np.ndarray, row: Mapping) -> np.ndarray:
        """Return log-mel features (frames, mel bins) of the true length, masked if this draw masks them."""
        random = None if self.masks is None else self._chance("specaugment", row)
        return log_mel if random is None else mask_log_mel(log_mel, *self.masks, random)

    def mix(self, own: np.ndarray, other: np.ndarray, row: Mapping) -> np.ndarray:
        """Return a row's waveform (samples,) or log-mel (frames, mel bins), mixed with its partner's, at its length."""
        kind, share, _ = row[PARTNER]
        if kind == "mixup":
            return mix_up(own, other, share)
        return cut_in(own, other, share, self._random("place of cutmix", row))

    def partner(self, row: Mapping) -> tuple[str, float, float] | None:
        """Return kind of mix, share of the row itself, and a number in [0, 1) that chooses a partner; or None."""
        for kind, alpha in self.mixes.items():
            if (random := self._chance(kind, row)) is not None:
                return kind, random.beta(alpha, alpha), random.random()
        return None

    def _chance(self, effect: str, row: Mapping) -> np.random.Generator | None:
        """Return the generator of an effect on a row; None if the effect does not alter this draw."""
        random, chances = self._random(effect, row), self.class_probabilities
        happens = random.random() < (self.probability if chances is None else chances[row["label"]])
        return random if happens else None

    def _random(self, purpose: str, row: Mapping) -> np.random.Generator:
        _, epoch, repetition = row[DRAW]
        words = f"{self.seed} {epoch} {repetition} {purpose} {row['utterance_id']}"
        return np.random.default_rng(int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "little"))


class DrawSampler(UtteranceSampler):
    """An `UtteranceSampler` whose indices carry their epoch: the workers of a data loader do not know it."""

    def __iter__(self) -> Iterator[Draw]:
        epoch, before = self.epoch, Counter()
        for index in super().__iter__():
            yield Draw(index, epoch, before[index])
            before[index] += 1


class AugmentedRows:
    """The training part, indexed by `Draw`s: rows with their draw, and with a partner if they are to be mixed.

    Partners come from the whole training part, not from the batch: they do not depend on the number of processes.
    """

    def __init__(self, rows: Dataset, augmentation: Augmentation, weights: np.ndarray):
        self.rows, self.augmentation = rows, augmentation
        self.edges = np.cumsum(weights) / np.sum(weights)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw) -> dict:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[Draw]) -> list[dict]:
        rows = self._read(draws)
        mixed = [(row, how) for row in rows if (how := self.augmentation.partner(row)) is not None]
        # The last edge may be below 1 by rounding.
        chosen = [min(int(np.searchsorted(self.edges, place, "right")), len(self) - 1) for _, (_, _, place) in mixed]
        if mixed:
            draws = [row[DRAW]._replace(index=index) for (row, _), index in zip(mixed, chosen, strict=True)]
            for (row, (kind, share, _)), partner in zip(mixed, self._read(draws), strict=True):
                row[PARTNER] = Partner(kind, share, partner)
        return rows

    def _read(self, draws: Sequence[Draw]) -> list[dict]:
        rows = self.rows.__getitems__([draw.index for draw in draws])
        return [{**row, DRAW: draw} for row, draw in zip(rows, draws, strict=True)]


def masks_after_extraction(extractor: FeatureExtractionMixin) -> bool:
    """True if log-mels can only be masked after extraction, (batch, frames, mel bins), as for Whisper."""
    from transformers import WhisperFeatureExtractor

    return isinstance(extractor, WhisperFeatureExtractor)


def without_fixed_inputs(
    dataset: Dataset, model: PreTrainedModel, augmentation: Augmentation
) -> tuple[Dataset, list[str]]:
    """Return the training part without the cached embeddings, which augmentation cannot change, and what is slower now.

    Cached log-mels are kept for the draws whose recordings are not altered.

    Returns:
        The rows, and the names of the cached columns that are computed again, in every epoch or in some draws.
    """
    slower = [name for name in (family_of(model).cached_input_of(model),) if name in dataset.column_names]
    dataset = dataset.remove_columns(slower)
    if augmentation.waveform and LOG_MEL_COLUMN in dataset.column_names:
        slower.append(LOG_MEL_COLUMN)
    return dataset, slower


def _setting(name: str, text: str) -> Setting:
    effect = WAVEFORM_EFFECTS[name]
    reach = "" if effect.unit is None else f"{effect.least:g}..{effect.most:g}"
    example, files = f"{name}={reach}", ()
    if effect.of_recordings:
        folder, _, text = text.rpartition(":") if reach else (text, "", "")
        example = f"{name}=FOLDER:{reach}".rstrip(":")
        files = _sound_files(name, folder, example)
    if effect.unit is None:
        if text:
            raise ValueError(f"augment: {name} takes no value, not {text!r}")
        return Setting(files=files)
    match = _RANGE.fullmatch(text)
    low = float(match["low"]) if match else np.nan
    high = float(match["high"] or match["low"]) if match else np.nan
    if not effect.least <= low <= high <= effect.most:
        raise ValueError(
            f"augment: {name}={text} is not a range within {effect.least:g} to {effect.most:g} ({effect.unit}), such "
            f"as {example}"
        )
    return Setting(low, high, files)


def _sound_files(name: str, folder: str, form: str) -> tuple[str, ...]:
    if not folder:
        raise ValueError(f"augment: {name} needs a folder of recordings, as in {form}")
    if not Path(folder).is_dir():
        raise ValueError(f"augment: {name}: there is no folder {folder}")
    files = [path for path in files_below(Path(folder), "**/*") if path.suffix.lower() in AUDIO_SUFFIXES]
    if not files:
        raise ValueError(f"augment: {name}: {folder} contains no recording ({', '.join(AUDIO_SUFFIXES)})")
    return tuple(map(str, files))


def _masks(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([1-9]\d?)x(\d+)x(\d+)", text)
    if match is None:
        raise ValueError(
            f"augment: specaugment={text} is not of the form 2x27x40: 2 masks of up to 27 mel bins and 2 of up to 40 "
            "frames"
        )
    return tuple(map(int, match.groups()))


def _alpha(name: str, text: str) -> float:
    alpha = float(text) if re.fullmatch(_NUMBER, text) else np.nan
    if not 0 < alpha <= 100:
        raise ValueError(f"augment: {name}={text}, but alpha must be above 0 and at most 100, such as {name}=0.2")
    return alpha


@lru_cache(maxsize=32)  # the noises of most folders; a minute takes 4 MB
def _recording(path: str) -> np.ndarray:
    recording = read_audio(path, sampling_rate=SAMPLING_RATE)
    if not recording.any():
        raise AudioError(f"{path} is silent", "remove it from the recordings to augment with")
    return recording
