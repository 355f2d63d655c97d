"""Every option of training does what it says: seen in the weights, the learning rates, the files."""

import json
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from safetensors.torch import load_file, save_file
from test_trainer import arguments, parameters, parts, train  # noqa: F401 (a fixture)
from torch.utils.data import DataLoader
from transformers import set_seed

from ser_hf.data.balance import UtteranceSampler
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.trainable import encoder_layers
from ser_hf.report.curves import write_curves
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.callbacks import (
    TRAINED_WEIGHTS,
    DrawsOfEpoch,
    EpochClock,
    NonFiniteError,
    NonFiniteGuard,
    WeightAverage,
    last_checkpoint,
)
from ser_hf.training.parser import OptionError
from ser_hf.training.trainer import SERTrainer


@pytest.fixture
def rows(parts):  # noqa: F811
    return parts["train"].select(range(0, 480, 10))


def build(rows, name="tiny-hubert", seed=0, **options):
    set_seed(seed)
    return build_classifier(name, rows.features["label"].names, **options)


def optimizer_of(trainer):
    trainer.create_optimizer()
    return trainer.optimizer


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper", "test_resnet"])
def test_learning_rates_fall_from_layer_to_layer_towards_the_input(name, rows, tmp_path):
    model, extractor = build(rows, name)
    trainer = SERTrainer(
        model, arguments(tmp_path, layer_decay=0.5, learning_rate=1.0, weight_decay=0.3), train_dataset=rows,
        eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    rates = {id(p): group["lr"] for group in optimizer_of(trainer).param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    learning = [p for p in model.parameters() if p.requires_grad]
    assert set(rates) == {id(p) for p in learning}, "every parameter that learns, once"
    layers = encoder_layers(model)
    for number, layer in enumerate(layers):
        assert {rates[id(p)] for p in layer if p.requires_grad} <= {0.5 ** (len(layers) - number)}
    inside = {id(p) for layer in layers for p in layer}
    assert {rates[id(p)] for p in learning if id(p) not in inside} == {1.0}
    biases = [p for name, p in model.named_parameters() if p.requires_grad and name.endswith(".bias")]
    assert {decays[id(p)] for p in biases} == {0.0}
    assert 0.3 in decays.values()


def test_the_learning_rate_falls_in_steps_after_the_warm_up(rows, tmp_path):
    model, extractor = build(rows)
    trainer = SERTrainer(
        model, arguments(tmp_path, step_epochs=2, step_factor=0.5, num_train_epochs=6, warmup_steps=3,
                         learning_rate=0.9, per_device_train_batch_size=16),
        train_dataset=rows, eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    trainer.create_optimizer_and_scheduler(num_training_steps=18)
    seen = []
    for _ in range(18):
        seen.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    np.testing.assert_allclose(seen, [0.3, 0.6, 0.9, 0.9, 0.9, 0.9, *[0.45] * 6, *[0.225] * 6])


def test_an_epoch_has_a_step_for_its_last_batches_even_if_incomplete_batches_are_dropped(rows, tmp_path):
    model, extractor = build(rows)
    trainer = SERTrainer(  # 48 utterances: three batches, fewer than the four of a step
        model, arguments(tmp_path, step_epochs=1, step_factor=0.5, num_train_epochs=2, learning_rate=0.8,
                         per_device_train_batch_size=15, gradient_accumulation_steps=4, dataloader_drop_last=True),
        train_dataset=rows, eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.lr_scheduler.get_last_lr() == [0.2] * len(trainer.lr_scheduler.get_last_lr())


def test_on_a_plateau_of_the_uar_the_learning_rate_falls_and_while_it_rises_it_does_not(rows, tmp_path):
    model, extractor = build(rows)
    trainer = SERTrainer(
        model, arguments(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs={"patience": 0},
                         eval_strategy="epoch", learning_rate=1.0),
        train_dataset=rows, eval_dataset=rows, processing_class=extractor,
    )  # fmt: skip
    trainer.create_optimizer_and_scheduler(num_training_steps=10)
    rates = []
    for uar in (0.2, 0.3, 0.4, 0.4, 0.4):
        trainer.lr_scheduler.step(uar)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1.0, 1.0, 1.0, 0.1, 0.01])


# --- averaged weights -------------------------------------------------------------------------------------------------


def test_the_average_is_that_of_the_definition():
    model = torch.nn.Linear(3, 2)
    average, expected = WeightAverage(0.9), model.weight.detach().clone()
    average.on_train_begin(None, None, None, model=model)
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.copy_(torch.randn(2, 3))
        average.on_step_end(None, SimpleNamespace(global_step=step), None, model=model)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * model.weight.detach()
    torch.testing.assert_close(average.average["weight"], expected)


def test_averaged_weights_are_saved_kept_and_resumed(rows, tmp_path):
    options = dict(ema_decay=0.9, per_device_train_batch_size=8, learning_rate=0.01, save_strategy="steps",
                   save_steps=4, save_total_limit=9)  # fmt: skip
    model, extractor = build(rows)
    train(model, extractor, rows, tmp_path / "whole", num_train_epochs=2, **options)
    whole = tmp_path / "whole/checkpoint-12"
    saved, trained = load_file(whole / "model.safetensors"), load_file(whole / TRAINED_WEIGHTS)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, saved[name], msg="the averaged weights are kept at the end")
    assert max((saved[name] - trained[name]).abs().max() for name in saved) > 1e-4

    model, extractor = build(rows, seed=1)
    trainer = SERTrainer(model, arguments(tmp_path / "resumed", num_train_epochs=2, **options), train_dataset=rows,
                         eval_dataset=None, processing_class=extractor)  # fmt: skip
    trainer.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-4"))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, saved[name], atol=1e-6, rtol=1e-5)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_step_that_is_not_finite_is_skipped_and_its_utterances_are_named(rows, parts, tmp_path, monkeypatch):  # noqa: F811
    model, extractor = build(rows)
    victim, evaluation = rows[5]["utterance_id"], parts["validation"].select(range(4))
    trainer = SERTrainer(model, arguments(tmp_path, per_device_train_batch_size=8, num_train_epochs=2,
                                          max_skipped_steps=2, eval_strategy="steps", eval_steps=1),
                         train_dataset=rows, eval_dataset=evaluation, processing_class=extractor)  # fmt: skip
    told = []
    monkeypatch.setattr("ser_hf.training.callbacks.logger.warning", told.append)
    collate = trainer.data_collator

    def spoiled(batch):
        features = collate(batch)
        if any(row["utterance_id"] == victim for row in batch):
            features["input_values"][0] = torch.nan
        return features

    trainer.data_collator = spoiled
    before = parameters(model)
    trainer.train()
    assert parameters(model).isfinite().all()
    assert (parameters(model) - before).norm() > 0, "the other steps have taught something"
    assert len(told) == 2, "one step in each of the two epochs"
    assert all(victim in message for message in told)
    assert all(message.count("synthetic/") == 8 for message in told), (
        "the whole batch, and no validation speaker, is named"
    )


def test_a_skipped_step_leaves_the_running_statistics_of_batch_norm_alone(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_hf.training.callbacks.logger.warning", lambda message: None)
    model, extractor = build(rows, "test_resnet")
    trainer = SERTrainer(model, arguments(tmp_path, per_device_train_batch_size=8, max_steps=3, ema_decay=0.5),
                         train_dataset=rows, eval_dataset=None, processing_class=extractor)  # fmt: skip
    collate, batches = trainer.data_collator, []

    def spoiled(batch):
        features = collate(batch)
        batches.append(features)
        if len(batches) == 2:
            features["input_features"][0] = torch.nan
        return features

    trainer.data_collator = spoiled
    trainer.train()
    assert trainer.guard.skipped == 1
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert model.backbone.bn1.running_mean.abs().max() > 0, "the other steps moved them"


@pytest.mark.parametrize("option", [{"metric_for_best_model": "eval_loss"}, {"metric_for_best_model": "uar"}])
def test_a_loss_is_better_when_it_is_lower_and_a_rate_when_it_is_higher(option, tmp_path):
    args = arguments(tmp_path, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, **option)
    assert args.greater_is_better == (option["metric_for_best_model"] == "uar")


@pytest.mark.parametrize(
    "options",
    [
        {"step_epochs": 1.0, "lr_scheduler_type": "cosine"},
        {"weight_classes": True, "balance": "class"},
        {"ema_decay": 1.0},
        {"layer_decay": 0.0},
        {"weight_corpora": True, "balance": "class_and_corpus"},
        {"balance_by": "oversampling"},
        {"balance_by": "copying", "balance": "class"},
        {"per_device_train_batch_size": 0},
        {"per_device_eval_batch_size": -1},
        {"gradient_accumulation_steps": 0},
        {"dataloader_num_workers": -1},
        {"dataloader_persistent_workers": True},
        {"learning_rate": float("nan")},
        {"weight_decay": -0.1},
        {"save_total_limit": 0},
        {"eval_steps": -1},
        {"max_steps": 0},
        {"max_steps": -2},
        {"num_train_epochs": 0},
        {"num_train_epochs": float("nan")},
        {"remove_unused_columns": True},
        {"label_names": ["emotion"]},
        {"save_only_model": True},
        {"resume_from_checkpoint": "runs/earlier/checkpoint-5"},
        {"prediction_loss_only": True},
        {"batch_eval_metrics": True},
        {"eval_do_concat_batches": False},
        {"include_for_metrics": ["loss"]},
        {"bf16_full_eval": True},
        {"fp16_full_eval": True},
        {"auto_find_batch_size": True},
        {"neftune_noise_alpha": 5.0},
        {"use_liger_kernel": True},
        {"hub_strategy": "checkpoint"},
        {"hub_always_push": True},
        {"hub_revision": "dev"},
        {"load_best_model_at_end": True},  # with eval_strategy no
        {"early_stopping_patience": 2},
        {"save_strategy": "best"},
        {"metric_for_best_model": "ura"},
        {"metric_for_best_model": "eval_accuracy"},
        {"greater_is_better": False},
        {"greater_is_better": True, "metric_for_best_model": "loss"},
        {"lr_scheduler_type": "cosine_with_min_lr"},  # needs min_lr
        {"lr_scheduler_kwargs": {"nothing": 1}},
        {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "epoch"},
    ],
    ids=str,
)
def test_options_that_cannot_do_what_they_promise_are_refused(options, tmp_path):
    with pytest.raises(OptionError, match=f"--({'|'.join(options)})[ :]"):
        arguments(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optim": "adamw_8bit"}, "bitsandbytes"),
        ({"optim": "adamw_torch_xla"}, "xla"),
        ({"report_to": ["tensorbord"]}, "tensorbord is not supported"),
        ({"report_to": ["clearml"]}, "(?i)clearml"),
        ({"deepspeed": "zero.json"}, "."),
    ],
    ids=str,
)
def test_what_is_not_installed_is_refused_before_anything_is_read(options, says, tmp_path):
    with pytest.raises(ValueError, match=says) as error:
        arguments(tmp_path, **options)
    assert "\n" not in str(error.value).strip()


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": 3, "num_train_epochs": 0}, {"metric_for_best_model": None}, {"metric_for_best_model": "eval_war"},
        {"greater_is_better": True}, {"lr_scheduler_type": "constant_with_warmup"},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 0.0}},
        {"lr_scheduler_type": "constant"}, {"torch_empty_cache_steps": 2}, {"eval_accumulation_steps": 1},
        {"optim": "sgd"}, {"save_total_limit": None},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_what_they_promise_are_accepted(options, tmp_path):
    arguments(tmp_path, **options)


def test_an_epoch_without_a_batch_and_a_length_that_is_no_column_are_refused(rows, tmp_path):
    model, extractor = build(rows)
    for options, says in (
        (
            {"dataloader_drop_last": True, "per_device_train_batch_size": 100},
            "leaves nothing of an epoch of 48 utterances",
        ),
        ({"train_sampling_strategy": "group_by_length", "length_column_name": "seconds"}, "unknown column 'seconds'"),
    ):
        with pytest.raises(OptionError, match=says):
            SERTrainer(
                model, arguments(tmp_path, **options), train_dataset=rows, eval_dataset=None, processing_class=extractor
            )


@pytest.mark.parametrize("launched", [False, True])
def test_fp16_is_refused_whoever_asks_for_it(launched, tmp_path, monkeypatch):
    if launched:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="use --bf16, not fp16"):
        arguments(tmp_path, **({} if launched else {"fp16": True}))


def test_of_several_gpus_one_process_takes_one(tmp_path, monkeypatch):
    """All of them would be DataParallel, in which the loss is multiplied by their number."""
    real = SERTrainingArguments._setup_devices.func

    def with_three(self):
        device = real(self)
        self._n_gpu = 3
        return device

    monkeypatch.setattr(SERTrainingArguments, "_setup_devices", property(with_three))
    assert arguments(tmp_path).n_gpu == 1


def test_what_is_judged_after_mixed_precision_is_what_is_loaded_again(rows, tmp_path):
    model, extractor = build(rows)
    trainer = train(model, extractor, rows, tmp_path, max_steps=2, learning_rate=0.01, bf16=True)
    trainer.save_model()
    again, _ = build_classifier(str(tmp_path), rows.features["label"].names)
    judged, loaded = (predict_probabilities(one, extractor, rows) for one in (model, again))
    np.testing.assert_array_equal(judged, loaded)


def test_a_resumed_epoch_of_several_processes_draws_what_it_drew():
    def loader(process):
        sampler = UtteranceSampler(np.ones(40), 40, seed=1)
        batches = DataLoader(list(range(40)), sampler=sampler, batch_size=5)
        return prepare_data_loader(batches, num_processes=2, process_index=process, put_on_device=False)

    for process in (0, 1):
        unbroken = loader(process)
        epochs = []
        for epoch in (0, 1):
            unbroken.set_epoch(epoch)
            epochs.append([batch.tolist() for batch in unbroken])
        assert epochs[0] != epochs[1]
        resumed = loader(process)
        DrawsOfEpoch().on_epoch_begin(None, SimpleNamespace(epoch=1.25), None, train_dataloader=resumed)
        rest = skip_first_batches(resumed, 1)
        rest.set_epoch(1)  # as the Trainer does, and does not reach the sampler
        assert [batch.tolist() for batch in rest] == epochs[1][1:]


def test_a_part_of_an_epoch_is_not_timed_as_a_whole_one():
    clock = EpochClock()
    clock.on_epoch_begin(None, SimpleNamespace(epoch=1.5), None)
    clock.on_epoch_end(None, None, None)
    assert clock.seconds is None
    clock.on_epoch_begin(None, SimpleNamespace(epoch=2.0), None)
    clock.on_epoch_end(None, None, None)
    assert clock.seconds >= 0


def test_a_frozen_backbone_learns_nothing_not_even_its_running_statistics(rows, tmp_path):
    model, extractor = build(rows, "test_resnet", trainable="head")
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    train(model, extractor, rows, tmp_path, max_steps=2, learning_rate=0.1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.backbone.state_dict().items())


def test_early_stopping_goes_on_where_it_was(rows, tmp_path):
    """Nothing improves at a learning rate of zero: three evaluations later it stops, also if it was killed between."""
    options = dict(early_stopping_patience=3, learning_rate=0.0, eval_strategy="steps", eval_steps=1,
                   save_strategy="steps", save_steps=1, save_total_limit=9, max_steps=9, load_best_model_at_end=True,
                   per_device_train_batch_size=8)  # fmt: skip
    model, extractor = build(rows)
    whole = train(model, extractor, rows, tmp_path / "whole", evaluation=rows.select(range(4)), **options)
    assert whole.state.global_step == 4
    model, extractor = build(rows)
    trainer = SERTrainer(model, arguments(tmp_path / "resumed", **options), train_dataset=rows,
                         eval_dataset=rows.select(range(4)), processing_class=extractor)  # fmt: skip
    trainer.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-3"))
    assert trainer.state.global_step == 4


def test_too_many_such_steps_stop_the_training(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_hf.training.callbacks.logger.warning", lambda message: None)
    model, extractor = build(rows)
    with torch.no_grad():
        model.classifier.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"2 of at most 1.*synthetic/.*learning rate"):
        train(model, extractor, rows, tmp_path, max_skipped_steps=1, per_device_train_batch_size=8)


def test_accumulated_batches_are_all_named():
    guard, model = NonFiniteGuard(limit=3), torch.nn.Linear(1, 1)
    guard.utterances = ["one", "two"]
    model.weight.grad = torch.tensor([[torch.inf]])
    guard.on_pre_optimizer_step(None, SimpleNamespace(global_step=0), None, model=model)
    assert guard.skipped == 1
    assert guard.utterances == []
    assert model.weight.grad is None


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    assert last_checkpoint(tmp_path) is None
    whole = '{"global_step": 1}'
    for step, state in ((9, whole), (10, whole), (11, '{"global_step": 1'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        save_file({"weight": torch.zeros(1)}, tmp_path / f"checkpoint-{step}/model.safetensors")
        if state is not None:
            (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


# --- stock options that must work with our families -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper", "test_resnet"])
def test_gradient_checkpointing_teaches_the_same(name, rows, tmp_path):
    after = []
    for checkpointing in (False, True):
        model, extractor = build(rows, name)
        before = parameters(model)
        train(model, extractor, rows, tmp_path, max_steps=2, per_device_train_batch_size=8, learning_rate=0.01,
              gradient_checkpointing=checkpointing)  # fmt: skip
        after.append(parameters(model) - before)
    assert after[0].norm() > 1e-3
    torch.testing.assert_close(*after, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper", "test_resnet"])
def test_bf16_teaches_about_the_same(name, rows, tmp_path):
    after = []
    for bf16 in (False, True):
        model, extractor = build(rows, name)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        before = parameters(model)
        train(model, extractor, rows, tmp_path, max_steps=1, per_device_train_batch_size=16, learning_rate=0.1,
              bf16=bf16, optim="sgd", max_grad_norm=0, lr_scheduler_type="constant")  # fmt: skip
        after.append(parameters(model) - before)
    assert torch.cosine_similarity(*after, dim=0) > 0.99
    assert (after[0] != after[1]).any(), "bf16 was in use"


@pytest.mark.parametrize("name", ["tiny-whisper", "test_resnet"])
def test_deterministic_runs_are_equal_to_the_last_bit(name, rows, tmp_path):
    weights = []
    for run in ("one", "two"):
        model, extractor = build(rows, name)
        train(model, extractor, rows, tmp_path / run, max_steps=3, per_device_train_batch_size=8,
              full_determinism=True)  # fmt: skip
        weights.append(parameters(model))
    torch.use_deterministic_algorithms(False)
    assert torch.equal(*weights)


def test_the_best_epoch_on_validation_is_the_model_that_is_kept(rows, parts, tmp_path):  # noqa: F811
    model, extractor = build(rows, "tiny-whisper")
    trainer = train(
        model, extractor, rows, tmp_path, evaluation=parts["validation"].select(range(0, 240, 6)), num_train_epochs=4,
        learning_rate=0.02, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        per_device_train_batch_size=8,
    )  # fmt: skip
    history = [row["eval_uar"] for row in trainer.state.log_history if "eval_uar" in row]
    assert trainer.state.best_metric == max(history)
    best = load_file(Path(trainer.state.best_model_checkpoint, "model.safetensors"))
    assert all(torch.equal(best[name], tensor) for name, tensor in model.state_dict().items())
    assert len(set(history)) > 1, "epochs that are all alike would show nothing"


def test_the_epochs_are_a_file_and_a_figure(rows, tmp_path):
    model, extractor = build(rows)
    trainer = train(model, extractor, rows, tmp_path, evaluation=rows, num_train_epochs=3, eval_strategy="epoch",
                    logging_strategy="epoch")  # fmt: skip
    write_curves(tmp_path / "run", trainer.state.log_history)
    history = json.loads((tmp_path / "run/history.json").read_text())
    assert [row["epoch"] for row in history if "eval_uar" in row] == [1.0, 2.0, 3.0]
    assert (tmp_path / "run/training.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_trackers_get_every_epoch(tracker, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    model, extractor = build(rows)
    train(model, extractor, rows, tmp_path / "run", report_to=tracker, num_train_epochs=2, logging_strategy="epoch",
          evaluation=rows, eval_strategy="epoch", run_name="one", project=tmp_path.name)  # fmt: skip
    if tracker == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        assert len(events.Scalars("eval/uar")) == 2
    else:
        with sqlite3.connect(Path(os.environ["TRACKIO_DIR"], f"{tmp_path.name}.db")) as database:
            logged = [row[0] for row in database.execute("select metrics from metrics")]
        assert sum("eval/uar" in str(row) for row in logged) == 2
