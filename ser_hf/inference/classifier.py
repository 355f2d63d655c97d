"""`Classifier`: emotions of recordings, called like a stock pipeline."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..files import one_line
from ..models.checkpoint_settings import is_nameless, refuse_values
from ..models.family import ModelError, class_names
from ..models.pretrained import load_classifier
from ..splits.relation import Adaptation
from .answers import Answer
from .engine import Engine
from .heads import Dimensions, Embedder, FrameEmbedder, Frames
from .inputs import is_one, is_stream
from .precision import dtype_of
from .speakers import ProfileError, Speaker

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class Classifier(Engine):
    """An emotion classifier with its feature extractor.

        classifier = Classifier.from_pretrained("runs/latest")
        classifier("one.wav")                   # [{'label': 'anger', 'score': 0.81}, ...], most probable first
        classifier(["one.wav", "two.flac"])     # one such list for each
        classifier("recordings/**/*.wav")       # or a folder, bytes, samples, a URL, a dataset

    It takes what `pipeline("audio-classification")` takes, returns what it returns, and needs no ffmpeg. Every score is
    that of the utterance alone, whatever shares a batch with it. Stock Whisper uses only the first 30 seconds of each,
    as in a stock pipeline.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, **computing: Any):
        super().__init__(model, extractor, **computing)
        self._speakers: dict[str, Speaker] = {}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike,
        *,
        device: str | None = None,
        backend: str | os.PathLike = "torch",
        dtype: str | torch.dtype = "float32",
        trust_remote_code: bool = False,
    ) -> Classifier:
        """Load a saved classifier from a folder or the Hub.

        Args:
            device: default: the first accelerator, else the CPU.
            backend: "torch"; "openvino" or "onnxruntime" to compile the model for the CPU, which takes up to a minute;
                or a folder of `ser-hf export`. Scores are the same up to rounding, but for exported integers.
            dtype: "float32"; "bfloat16" (torch and openvino); or "auto" for the faster one of this device, measured
                with two products of matrices. In bfloat16 scores differ, mostly by thousandths (docs/engine.md).
            trust_remote_code: True to run code of the repository; not needed for our own families.

        Raises:
            ModelError: as `models.pretrained.load_classifier`, and for a device that is not there.
        """
        model, extractor = load_classifier(name_or_path, trust_remote_code=trust_remote_code)
        if is_nameless(model.config):
            warnings.warn(
                f"{name_or_path} has no names for its classes, only {', '.join(class_names(model.config))}: add "
                "them to the id2label of its config.json",
                stacklevel=2,
            )
        if backend != "torch":
            if device not in (None, "cpu"):
                raise ModelError(f"backend={backend!r} computes on the CPU, not on {device}: leave device out")
            from ..export.compiled import compile_model
            from ..export.folder import open_exported

            chosen = dtype_of(dtype)
            if os.path.isdir(backend):
                compiled = open_exported(Path(backend), model, chosen)
            else:
                compiled = compile_model(model, extractor, backend, chosen)
            return cls(model, extractor, compiled=compiled, dtype=chosen)
        if device is None:
            device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
        try:
            # Weights of images in the order of their inputs: a tenth faster for a ResNet, and nothing else changes.
            model = model.to(device, memory_format=torch.channels_last)
            return cls(model, extractor, dtype=dtype_of(dtype, device))
        except (RuntimeError, AssertionError) as error:  # PyTorch raises either
            raise ModelError(f"device {device!r} cannot be used here ({one_line(error)}): use cpu") from error

    def __call__(
        self,
        inputs: Any,
        *,
        speaker: str | os.PathLike | None = None,
        adaptation: str = Adaptation.NONE,
        abstain: float | None = None,
        sets: bool = False,
        **options: Any,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Return `[{"label", "score"}, ...]`, most probable first, for each recording.

        With `abstain` the answer of a recording that the model is not sure of is `[{"label": "unknown", "score": None},
        {"label", "score"}, ...]`. So the label of the first entry is what the model says, as always, and nothing that
        it computed is lost. The score is None since no probability belongs to this entry: code that reads it as one
        fails at once, and a class of the same name is told from it.

        Thresholds and sets were chosen on speakers whom the model does not know, on whole recordings and without
        adaptation: `model.config.abstention`. The report of the model says what they gave on test speakers. With a
        `speaker`, `adaptation` or `window_seconds` the same ones are used on scores of another kind. Adapted scores are
        mostly better calibrated (docs/speakers.md), so the wanted share is kept about as well; for means over windows
        nothing was measured.

        Args:
            inputs: one recording, in any form of `inputs.to_source`; or many: a list, folder, pattern, generator or
                dataset of these.
            speaker: the person in all recordings, to whom the model adapts: the folder of a saved profile, or any name
                for one in memory (see `speaker`). Default: nobody knows who speaks.
            adaptation: "online" to enrol each recording after it is scored. With a `speaker`, the next call knows them
                too; without one, the recordings of this call are taken to be of one new person, who is then forgotten.
                Default: "none".
            abstain: greatest share of the given answers that may be wrong, such as 0.1; one that a threshold is stored
                for. Default: the model always answers.
            sets: True for only the classes of a conformal set, best first: as many as are needed to have the true one
                among them in 90 of 100 recordings. A set has at least one class, and may have all. It goes with
                `abstain`, whose entry "unknown" is before it, and not with `top_k`.
            options: of `Engine.__call__`, such as `top_k`, `batch_size` and `on_error`.

        Returns:
            One answer for one recording, a list for a list, folder or pattern, and an iterator for a generator or a
            dataset. The iterator reads and scores only as far as it is asked.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long for the model.
            ModelError: if a score is not finite, if the model cannot be adapted to a speaker, or if it has no
                thresholds.
            ValueError: for an option that cannot be, or a share of wrong answers without a threshold.
        """
        options |= {"abstain": abstain, "sets": sets}
        if adaptation not in (Adaptation.NONE, Adaptation.ONLINE):
            raise ValueError(
                f'adaptation must be "none" or "online" here, not {adaptation!r} (others are kinds of evaluation)'
            )
        if speaker is None and adaptation == Adaptation.NONE:
            return super().__call__(inputs, **options)
        if (wanted := options.pop("function_to_apply", None)) not in (None, "softmax"):
            raise ValueError(f"function_to_apply={wanted!r}: scores of a known speaker are a softmax")
        learn = adaptation == Adaptation.ONLINE
        if speaker is None and is_one(inputs):
            raise ValueError(
                'adaptation="online" learns from earlier recordings, and a call without a speaker forgets them: name '
                'the voice (speaker="anna"), or pass all recordings at once'
            )
        is_new = speaker is not None and os.fspath(speaker) not in self._speakers and not Speaker.is_saved(speaker)
        if is_new and not learn:
            raise ProfileError(
                f"there is no profile {os.fspath(speaker)}, and no voice of this name was heard: enrol one with "
                f'speaker({os.fspath(speaker)!r}).enrol(recordings), or pass adaptation="online"'
            )
        if is_new and len(Path(speaker).parts) > 1:
            raise ProfileError(
                f"there is no profile {os.fspath(speaker)}: make it with `ser-hf enrol`, or use a name without "
                "folders for a voice that is only in memory"
            )
        return self.speaker(speaker)(inputs, learn=learn, **options)

    def speaker(self, name: str | os.PathLike | None = None) -> Speaker:
        """Return a known voice: the saved profile of this name, or else the one in memory, which may be new.

        A saved profile is read each time, and does not change by itself: `Speaker.save` writes what was enrolled.

        Args:
            name: folder of a profile, or any name; None for a voice that is not kept.

        Raises:
            ModelError: for a model that cannot be adapted to a speaker.
            ProfileError: for a profile that cannot be used.
        """
        if name is None:
            return Speaker(self)
        if Speaker.is_saved(name):
            return Speaker.load(name, self)
        return self._speakers.setdefault(os.fspath(name), Speaker(self))

    def forget(self, name: str) -> None:
        """Delete a voice in memory; a saved profile is deleted with `Speaker.delete`.

        Raises:
            ProfileError: if no voice of this name is there.
        """
        if name not in self._speakers:
            known = ", ".join(self._speakers) or "none"
            raise ProfileError(f"no voice {name!r} is in memory, only {known}: nothing was deleted")
        del self._speakers[name]

    def embeddings(self, inputs: Any, *, frames: bool = False) -> np.ndarray | Frames | list[Frames] | Iterator[Frames]:
        """Return the vector that the last layer receives, (utterances, width), float64, for each recording.

        Args:
            inputs: as for a call.
            frames: True for what the encoder gives for each frame, with its time, instead: `Frames` for one recording,
                a list for many, an iterator for a generator or a dataset.

        Raises:
            AudioError: as a call.
            ModelError: for a model without a last linear layer, such as a support vector machine; with `frames` for
                one without a speech encoder.
        """
        if not frames:
            return Embedder(self.model, self.extractor).scores(inputs)
        found = FrameEmbedder(self.model, self.extractor).frames(inputs)
        if is_one(inputs):
            return next(found)
        return found if is_stream(inputs) else list(found)

    def dimensions(
        self, inputs: Any, *, window_seconds: float | None = None, allow_truncated: bool = False
    ) -> dict[str, float] | list[dict[str, float]] | Iterator[dict[str, float]]:
        """Return `{"valence", "arousal", "dominance"}` of each recording, from the second head of a model.

        Each is from 0, the low end of the scale of the raters (unpleasant, calm, weak), to 1, the high end. A model of
        other authors that estimates such values returns them under its own labels, in its own units.

        Args:
            inputs, window_seconds, allow_truncated: as for a call.

        Returns:
            As a call: one for one recording, a list for many, an iterator for a generator or a dataset.

        Raises:
            AudioError: as a call.
            ModelError: for a model that estimates none.
        """
        engine = Dimensions(self.model, self.extractor)
        answers = engine(inputs, window_seconds=window_seconds, allow_truncated=allow_truncated)

        def in_order(answer: Answer) -> dict[str, float]:
            found = {entry["label"]: entry["score"] for entry in answer}
            return {label: found[label] for label in engine.labels}

        if is_one(inputs):
            return in_order(answers)
        return map(in_order, answers) if is_stream(inputs) else list(map(in_order, answers))

    def probabilities(
        self,
        inputs: Any,
        *,
        names: Sequence[str] | None = None,
        allow_truncated: bool = False,
        progress: bool = False,
    ) -> np.ndarray:
        """Return class probabilities, (utterances, classes), float64, in the order of `labels`.

        Args:
            inputs, names, allow_truncated, progress: as for a call.

        Raises:
            AudioError: as a call.
            ModelError: as a call, and for a model that estimates values instead.
        """
        refuse_values(self.model.config.name_or_path or type(self.model).__name__, self.model.config)
        return self.scores(inputs, names=names, allow_truncated=allow_truncated, progress=progress)
