"""Augmentation: training utterances heard a little differently each time; validation and test ones never.

An effect is a word such as `noise=5..20`, with a range in the unit of `WAVEFORM_EFFECTS`. Only rows that carry a `Draw`
are altered, and only the training part has such rows (`AugmentedRows`). Everything random follows from (seed, epoch,
utterance, how often it was drawn before in this epoch, effect): runs that were interrupted, or that are shared among
processes, hear the same, and an effect more or less changes nothing about the others.
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
from ..sources.folders import AUDIO_SUFFIXES
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
    """A row of the training part, and when it is heard: in which epoch, and after how many times in that epoch."""

    index: int
    epoch: int
    repetition: int


class Partner(NamedTuple):
    """What an utterance is mixed with: how, the row, and the share that the utterance itself keeps, in [0, 1]."""

    kind: str
    share: float
    row: Mapping


@dataclass(frozen=True)
class Setting:
    """The range that a value is drawn from, evenly, and the recordings that one is drawn from."""

    low: float | None = None
    high: float | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """Which effects, how often.

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
        """From words such as `noise=5..20`, `specaugment=2x27x40`, `mixup=0.2`, `gsm`; None if there is none.

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
                raise ValueError(f"augment: {name} stands twice; give it one range")
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
        """Of the commonest class, with N utterances, `probability` are altered; of one with n, 1 - (1 - p) n / N.

        Under `balance: class`, where rarer classes are drawn more often, every recording of whatever class is then
        heard unaltered equally often, and it is the additional draws that are altered.

        >>> Augmentation(probability=0.2).favouring_rare_classes([0, 0, 1], 2).class_probabilities
        (0.2, 0.6)
        """
        counts = np.bincount(labels, minlength=num_classes)
        chances = 1 - (1 - self.probability) * counts / counts.max()
        return replace(self, class_probabilities=tuple(chances.round(12).tolist()))

    @property
    def fastest(self) -> float:
        """The factor by which the shortest utterance may get shorter, 1 or more."""
        # Either may befall an utterance without the other.
        factors = [max(1.0, self.waveform[name].high) for name in ("tempo", "speed") if name in self.waveform]
        return float(np.prod(factors))

    def check(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, columns: Sequence[str]) -> None:
        """Raises a ValueError if rows of these columns, or this model, cannot be augmented so."""
        cached = family_of(model).cached_input_of(model)
        if "audio" not in columns and cached in columns:
            raise ValueError(
                "augment: precomputed embeddings of a frozen encoder would never hear it: leave precomputed or augment "
                "out"
            )
        if "audio" not in columns and self.waveform:
            raise ValueError(
                f"augment: precomputed log-mels are made already, too late for {', '.join(self.waveform)}: "
                "leave precomputed out, or keep to specaugment, mixup and cutmix"
            )
        if self.waveform and extractor.sampling_rate != SAMPLING_RATE:
            raise ValueError(
                f"augment: effects on recordings ({', '.join(self.waveform)}) want {SAMPLING_RATE} Hz, and this model "
                f"hears {extractor.sampling_rate} Hz: set its sampling_rate"
            )
        if self.masks is not None:
            if not masks_after_extraction(extractor) and not caches_log_mel(extractor):
                raise ValueError(
                    "augment: specaugment masks log-mel features, and this model does not hear by them alone: leave it "
                    "out; HuBERT and its kin mask inside, by mask_time_prob of their configuration"
                )
            if self.masks[1] >= extractor.feature_size:
                raise ValueError(
                    f"augment: a mask of specaugment may cover {self.masks[1]} mel bins, wanted fewer than all "
                    f"{extractor.feature_size}"
                )

    def alters_waveform(self, row: Mapping) -> bool:
        """Whether any effect befalls the recording of this row of `AugmentedRows` this time."""
        return any(self._chance(name, row) is not None for name in self.waveform)

    def alter_waveform(self, waveform: np.ndarray, row: Mapping) -> np.ndarray:
        """The recording of a row as it is heard this time: float32, at `SAMPLING_RATE`. Silence stays as it is."""
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
        """Log-mel features (frames, mel bins) of the true length, masked by `mask_log_mel` if the row is to be."""
        random = None if self.masks is None else self._chance("specaugment", row)
        return log_mel if random is None else mask_log_mel(log_mel, *self.masks, random)

    def mix(self, own: np.ndarray, other: np.ndarray, row: Mapping) -> np.ndarray:
        """A row's waveform (samples,) or log-mel (frames, mel bins) mixed with its partner's, at its own length."""
        kind, share, _ = row[PARTNER]
        if kind == "mixup":
            return mix_up(own, other, share)
        return cut_in(own, other, share, self._random("place of cutmix", row))

    def partner(self, row: Mapping) -> tuple[str, float, float] | None:
        """How a row is mixed, the share it keeps, and a number in [0, 1) to choose its partner by; None: it is not."""
        for kind, alpha in self.mixes.items():
            if (random := self._chance(kind, row)) is not None:
                return kind, random.beta(alpha, alpha), random.random()
        return None

    def _chance(self, effect: str, row: Mapping) -> np.random.Generator | None:
        """The generator of an effect on a row, if it befalls the row this time."""
        random, chances = self._random(effect, row), self.class_probabilities
        happens = random.random() < (self.probability if chances is None else chances[row["label"]])
        return random if happens else None

    def _random(self, purpose: str, row: Mapping) -> np.random.Generator:
        _, epoch, repetition = row[DRAW]
        words = f"{self.seed} {epoch} {repetition} {purpose} {row['utterance_id']}"
        return np.random.default_rng(int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "little"))


class DrawSampler(UtteranceSampler):
    """`UtteranceSampler`, whose indices tell when they are drawn: workers know neither the epoch nor each other."""

    def __iter__(self) -> Iterator[Draw]:
        epoch, before = self.epoch, Counter()
        for index in super().__iter__():
            yield Draw(index, epoch, before[index])
            before[index] += 1


class AugmentedRows:
    """The training part, read by `Draw`s: its rows with the draw, and with a partner where they are to be mixed.

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
    """Whether log-mels can only be masked in what the extractor returns, (batch, mel bins, frames): Whisper's."""
    from transformers import WhisperFeatureExtractor

    return isinstance(extractor, WhisperFeatureExtractor)


def without_unheard(dataset: Dataset, model: PreTrainedModel, augmentation: Augmentation) -> tuple[Dataset, list[str]]:
    """The training part without cached columns that augmentation would not reach, and their names.

    Log-mels stay, for the utterances whose recordings are left alone this time.
    """
    names = [name for name in (family_of(model).cached_input_of(model),) if name in dataset.column_names]
    slower = names + [LOG_MEL_COLUMN] * (augmentation.waveform != {} and LOG_MEL_COLUMN in dataset.column_names)
    return dataset.remove_columns(names), slower


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
            f"augment: {name}={text} is no range from {effect.least:g} to {effect.most:g} ({effect.unit}), such as "
            f"{example}"
        )
    return Setting(low, high, files)


def _sound_files(name: str, folder: str, form: str) -> tuple[str, ...]:
    if not folder:
        raise ValueError(f"augment: {name} needs a folder of recordings, as in {form}")
    if not Path(folder).is_dir():
        raise ValueError(f"augment: {name}: there is no folder {folder}")
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise ValueError(f"augment: {name}: {folder} holds no recording ({', '.join(AUDIO_SUFFIXES)})")
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
        raise ValueError(f"augment: {name}={text}, wanted alpha of Beta(alpha, alpha), above 0, such as {name}=0.2")
    return alpha


@lru_cache(maxsize=32)  # the noises of most folders; a minute takes 4 MB
def _recording(path: str) -> np.ndarray:
    recording = read_audio(path, sampling_rate=SAMPLING_RATE)
    if not recording.any():
        raise AudioError(f"{path} is silent: remove it from the recordings to augment with")
    return recording
