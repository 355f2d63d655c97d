"""What distillation promises, on points whose teacher is a known function of them."""

from itertools import product

import datasets
import numpy as np
import pytest
import torch
from conftest import write_tone
from torch.nn.functional import cross_entropy, kl_div
from toys import Interruption, PointClassifier, PointConfig, arguments, point_rows, weights
from transformers import Wav2Vec2FeatureExtractor, set_seed

from ser_hf import load_corpus
from ser_hf.data.columns import TEACHER_COLUMN
from ser_hf.data.targets import with_teacher_logits
from ser_hf.models.pretrained import build_classifier
from ser_hf.training.distillation import DistillationArguments, DistillationTrainer
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

CLASSES = 4
TEACHER = np.random.default_rng(5).normal(0, 1, (12, CLASSES))


def taught_rows(seed=0, count=320, *, shuffled=True):
    """Points, the teacher's answers, and labels: the teacher's own, or the same in an order that says nothing."""
    random = np.random.default_rng(seed)
    points = random.normal(0, 1, (count, 12)).astype(np.float32)
    labels = (points @ TEACHER).argmax(axis=1)
    return with_teacher_logits(point_rows(points, random.permutation(labels) if shuffled else labels), points @ TEACHER)


def teach(folder, rows, *, weight=0.5, temperature=2.0, callbacks=(), resume=None, evaluation=None, **options):
    set_seed(0)
    model = PointClassifier(PointConfig(num_labels=CLASSES))
    trainer = DistillationTrainer(
        model, arguments(folder, **options),
        distillation=DistillationArguments(
            teacher="toy", distillation_weight=weight, distillation_temperature=temperature
        ),
        train_dataset=rows, eval_dataset=evaluation, processing_class=Wav2Vec2FeatureExtractor(), callbacks=callbacks,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


@torch.no_grad()
def agreement(model):
    """Share of new points to which student and teacher give the same answer; chance is about a quarter."""
    points = np.random.default_rng(99).normal(0, 1, (2000, 12)).astype(np.float32)
    answers = model.eval()(torch.tensor(points)).logits.argmax(dim=1).numpy()
    return (answers == (points @ TEACHER).argmax(axis=1)).mean()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_a_student_learns_from_the_teacher_alone_where_labels_say_nothing(temperature, tmp_path):
    rows = taught_rows()
    taught, _ = teach(tmp_path, rows, weight=1.0, temperature=temperature, num_train_epochs=25)
    assert agreement(taught) > 0.9
    untaught, _ = teach(tmp_path, rows, weight=0.0, num_train_epochs=25)
    assert agreement(untaught) < 0.5


def test_with_weight_0_it_is_the_plain_trainer_to_the_last_bit(tmp_path):
    rows = taught_rows()
    student, _ = teach(tmp_path, rows, weight=0.0, num_train_epochs=2)
    set_seed(0)
    plain = PointClassifier(PointConfig(num_labels=CLASSES))
    SERTrainer(
        plain, arguments(tmp_path, num_train_epochs=2), train_dataset=rows.remove_columns(TEACHER_COLUMN),
        eval_dataset=None, processing_class=Wav2Vec2FeatureExtractor(),
    ).train()  # fmt: skip
    assert torch.equal(weights(student), weights(plain))
    taught, _ = teach(tmp_path, rows, weight=0.5, num_train_epochs=2)
    assert not torch.equal(weights(taught), weights(plain))


def test_the_loss_is_shared_out_between_labels_and_teacher(tmp_path):
    _, trainer = teach(tmp_path, taught_rows(), weight=0.3, temperature=4.0, max_steps=1)
    logits, teacher, labels = torch.randn(6, CLASSES), torch.randn(6, CLASSES), torch.tensor([0, 1, 1, 2, 3, 3])
    outputs = type("Outputs", (), {"logits": logits})
    hard = cross_entropy(logits, labels)
    soft = 16 * kl_div((logits / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean")
    trainer._teacher_logits = teacher
    torch.testing.assert_close(trainer._loss(outputs, labels), 0.7 * hard + 0.3 * soft)
    torch.testing.assert_close(trainer._loss(outputs, labels, num_items_in_batch=12), (0.7 * hard + 0.3 * soft) / 2)


@pytest.mark.parametrize(
    "options", [{"train_sampling_strategy": "random"}, {"train_sampling_strategy": "group_by_length"},
                {"balance": "class", "train_sampling_strategy": "group_by_length"}],
)  # fmt: skip
def test_answers_stay_with_their_utterances_in_whatever_order_these_are_drawn(options, tmp_path):
    rows = taught_rows(count=100)
    answers = dict(zip(rows["utterance_id"], np.asarray(rows[TEACHER_COLUMN]), strict=True))
    _, trainer = teach(tmp_path, rows, max_steps=1, **options)
    trainer.model.train()
    names = []
    for batch in trainer.get_train_dataloader():
        expected = np.stack([answers[name] for name in batch["utterance_id"]])
        np.testing.assert_array_equal(batch[TEACHER_COLUMN], expected)
        names += batch["utterance_id"]
    assert len(names) == 100
    assert names != list(rows["utterance_id"])


def test_accumulated_batches_teach_what_one_large_batch_teaches(tmp_path):
    after = []
    for batch, accumulation in ((32, 1), (8, 4)):
        model, _ = teach(
            tmp_path, taught_rows(count=32), max_steps=1, optim="sgd", learning_rate=0.1, max_grad_norm=0,
            lr_scheduler_type="constant", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        after.append(weights(model))
    torch.testing.assert_close(after[0], after[1])


def test_a_resumed_distillation_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    rows, options = taught_rows(), dict(max_steps=14, save_strategy="steps", save_steps=6)
    whole, _ = teach(tmp_path / "whole", rows, **options)
    with pytest.raises(KeyboardInterrupt):
        teach(tmp_path / "broken", rows, callbacks=[Interruption(8)], **options)
    resumed, _ = teach(tmp_path / "broken", rows, resume=str(tmp_path / "broken/checkpoint-6"), **options)
    assert torch.equal(weights(whole), weights(resumed))


def test_the_validation_part_is_judged_by_its_labels_and_needs_no_teacher(tmp_path):
    validation = taught_rows(seed=1, shuffled=False).remove_columns(TEACHER_COLUMN)
    model, trainer = teach(
        tmp_path, taught_rows(), num_train_epochs=20, eval_strategy="epoch", logging_strategy="epoch", weight=1.0,
        evaluation=validation,
    )  # fmt: skip
    history = trainer.state.log_history
    assert history[-2]["eval_uar"] > 0.85
    logits = model.eval()(torch.as_tensor(np.asarray(validation["points"]))).logits
    expected = cross_entropy(logits, torch.as_tensor(validation["label"])).item()
    assert history[-2]["eval_loss"] == pytest.approx(expected, rel=1e-4)
    distances = [entry["distillation"] for entry in history if "distillation" in entry]
    assert distances[-1] < distances[0] / 4


def test_recordings_altered_for_the_student_keep_the_answers_to_the_clean_ones(tmp_path):
    for number, (emotion, clip) in enumerate(product(("anger", "fear"), range(4))):
        write_tone(tmp_path / f"tones/{emotion}/{clip}.wav", hertz=150 + 20 * number)
    train = load_corpus("folder", tmp_path / "tones", "five", allow_partial=True)
    logits = np.random.default_rng(0).normal(0, 1, (8, 5)).astype(np.float32)
    model, extractor = build_classifier("tiny-hubert", train.features["label"].names)
    trainer = DistillationTrainer(
        model, arguments(tmp_path, max_steps=1, augment=["noise=5..20"], per_device_train_batch_size=4),
        distillation=DistillationArguments(teacher="toy"), train_dataset=with_teacher_logits(train, logits),
        eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    trainer.train()
    for batch in trainer.get_train_dataloader():
        rows = [train["utterance_id"][:].index(name) for name in batch["utterance_id"]]
        np.testing.assert_array_equal(batch[TEACHER_COLUMN], logits[rows])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"distillation_temperature": 0}, "--distillation_temperature must be above 0, not 0"),
     ({"distillation_weight": 1.5}, r"--distillation_weight must be in \[0, 1\], not 1.5"),
     ({"teacher_labels": ["hap"]}, "--teacher_labels needs the form label=class, not 'hap'")],
)  # fmt: skip
def test_options_outside_their_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        DistillationArguments(teacher="toy", **options)


def test_what_a_teacher_cannot_answer_is_refused_at_the_door(tmp_path):
    rows = taught_rows(count=40)
    with pytest.raises(ValueError, match="needs the column teacher_logits: add it with"):
        teach(tmp_path, rows.remove_columns(TEACHER_COLUMN))
    with pytest.raises(ValueError, match="needs --targets label, not votes"):
        teach(tmp_path, rows, targets="votes")
    with pytest.raises(ValueError, match="leave mixup out of --augment"):
        teach(tmp_path, rows, augment=["mixup=0.2"])
    plain = rows.remove_columns(TEACHER_COLUMN)
    with pytest.raises(ValueError, match=r"= \(40, 4\), not \(40, 3\)"):
        with_teacher_logits(plain, np.zeros((40, 3)))
    broken = np.zeros((40, 4))
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="the teacher's answer to toy/7 is not finite"):
        with_teacher_logits(plain, broken)


def test_added_answers_leave_cached_columns_as_they_are():
    rows = taught_rows(count=10)
    assert isinstance(rows, datasets.Dataset)
    assert isinstance(rows[0]["points"], np.ndarray)
