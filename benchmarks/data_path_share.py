"""How much of a training step is spent on data: decoding and features, or reading what `precompute` cached.

    python benchmarks/data_path_share.py ../shared/corpora/ravdess resnet18 [name=value of the front end ...]

Goal: at most 10 % with the cache. Times are medians over the steps of one run, on the threads that PyTorch takes.
"""

import statistics
import sys
import tempfile
import time

import torch
import yaml

from ser_hf import load_corpus, split
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.trainable import is_frozen
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.trainer import SERTrainer

STEPS = 12


def measure(trainer: SERTrainer, rows) -> tuple[float, float]:
    """Median milliseconds of a step's data and of the whole step."""
    trainer.train_dataset = rows
    data, whole = [], []
    start = time.perf_counter()
    for number, batch in enumerate(trainer.get_train_dataloader()):
        ready = time.perf_counter()
        trainer.training_step(trainer.model, batch)
        trainer.optimizer.step()
        trainer.model.zero_grad()
        end = time.perf_counter()
        if number:  # the first step warms up
            data.append(1000 * (ready - start))
            whole.append(1000 * (end - start))
        if number == STEPS:
            break
        start = time.perf_counter()
    return statistics.median(data), statistics.median(whole)


def main(root: str, name: str, *settings: str) -> None:
    rows = split(load_corpus("ravdess", root), "ravdess/si6", 0)["train"]
    front_end = {key: yaml.safe_load(value) for key, value in (word.split("=") for word in settings)}
    model, extractor = build_classifier(name, rows.features["label"].names, front_end=front_end)
    cached = precompute(rows, model, extractor, frozen=is_frozen(model))
    fit_statistics(model, extractor, cached)
    with tempfile.TemporaryDirectory() as folder:
        args = SERTrainingArguments(
            output_dir=folder, per_device_train_batch_size=32, report_to="none", use_cpu=not torch.cuda.is_available(),
            train_sampling_strategy="random", eval_strategy="no", load_best_model_at_end=False,
        )  # fmt: skip
        trainer = SERTrainer(model, args, train_dataset=rows, eval_dataset=None, processing_class=extractor)
        trainer.create_optimizer()
        print(f"{name}, batches of 32, {torch.get_num_threads()} threads, {STEPS} steps")
        for title, source in (("cached log-mel", cached), ("decoded and computed in every step", rows)):
            data, step = measure(trainer, source)
            epoch = step * len(rows) / 32 / 1000
            print(
                f"{title:36} data {data:6.1f} ms of {step:7.1f} ms: {data / step:6.1%}; {epoch:5.1f} s an epoch of "
                f"{len(rows)} utterances"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
