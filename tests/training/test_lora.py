"""Adapters learn in place of the encoder's weights, and end in them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from test_trainer import arguments, parts, train  # noqa: F401 (a fixture)
from tiny import TINY_ENCODERS
from transformers import set_seed

from ser_hf.inference.classifier import Classifier
from ser_hf.models.lora import add_adapters, has_adapters, merge_adapters
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.trainable import encoder_layers, is_frozen
from ser_hf.training.arguments import ModelArguments
from ser_hf.training.callbacks import last_checkpoint
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000
ENCODERS = {name: (name, {}) for name in TINY_ENCODERS} | {
    f"attentive-{name}": (name, {"pooling": "attentive"}) for name in ("tiny-hubert", "tiny-wavlm", "tiny-whisper")
}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    """A model before any adapter, and its extractor."""
    name, settings = ENCODERS[request.param]
    set_seed(0)
    model, extractor = build_classifier(name, LABELS, settings=settings)
    return model.eval(), extractor


@pytest.fixture
def rows(parts):  # noqa: F811
    return parts["train"].select(range(0, 480, 10))


def inputs_of(extractor):
    random = np.random.default_rng(0)
    waveforms = [random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in (0.5, 1.0)]
    return extractor(waveforms, sampling_rate=RATE, padding=True, return_tensors="pt")


def randomise(model):
    """Adapters as after some training."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 1.0)


def adapted(rows, **options):
    set_seed(0)
    options = {"model_name_or_path": "tiny-hubert", "lora_rank": 8, **options}
    return ModelArguments(**options).build(rows.features["label"].names)


# --- the model --------------------------------------------------------------------------------------------------------


def test_adapters_change_nothing_at_first_and_every_one_of_them_is_heard(encoder):
    model, extractor = encoder
    inputs = inputs_of(extractor)
    with torch.inference_mode():
        before = model(**inputs).logits
    add_adapters(model, rank=4, alpha=8)
    with torch.inference_mode():
        torch.testing.assert_close(model(**inputs).logits, before, atol=1e-6, rtol=0)
    randomise(model)  # as long as B is zero, A has no gradient
    model(**inputs, labels=torch.tensor([0, 1])).loss.backward()
    adapters = {name: p for name, p in model.named_parameters() if ".lora_" in name}
    assert len(adapters) == 2 * sum(isinstance(module, BaseTunerLayer) for module in model.modules()) > 0
    assert [name for name, p in adapters.items() if p.grad is None or not p.grad.any()] == []
    inside = {id(p) for layer in encoder_layers(model) for p in layer}
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in adapters or id(parameter) not in inside), name
    assert not is_frozen(model)


def test_the_merged_model_is_an_ordinary_one_with_the_same_logits(encoder):
    model, extractor = encoder
    inputs, names, parts_of = inputs_of(extractor), list(model.state_dict()), [type(m) for m in model.modules()]
    with torch.inference_mode():
        before = model(**inputs).logits
    add_adapters(model, rank=4, alpha=8)
    randomise(model)
    with torch.inference_mode():
        with_adapters = model(**inputs).logits
        assert (with_adapters - before).abs().max() > 1e-3
        merge_adapters(model)
        torch.testing.assert_close(model(**inputs).logits, with_adapters, atol=1e-5, rtol=0)
    assert list(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == parts_of
    assert not has_adapters(model)
    assert "has_adapters" not in model.config.to_dict()


def test_trainable_says_which_layers_get_adapters(rows):
    model, _ = adapted(rows, trainable="last1")
    _, first, last = encoder_layers(model)
    assert not any(parameter.requires_grad for parameter in first)
    assert sum(parameter.requires_grad for parameter in last) == 8  # A and B of query, key, value and output
    for options in ({"trainable": "head"}, {"model_name_or_path": "test_resnet"}):
        with pytest.raises(ModelError, match=r"lora_rank: .* has no trainable Transformer layer"):
            adapted(rows, **options)
    with pytest.raises(ValueError, match="--lora_rank must be 0 or more, not -1"):
        ModelArguments(model_name_or_path="tiny-hubert", lora_rank=-1)


# --- training ---------------------------------------------------------------------------------------------------------

OPTIONS = dict(
    per_device_train_batch_size=8, learning_rate=0.01, num_train_epochs=2, save_strategy="steps", save_steps=4,
    save_total_limit=9,
)  # fmt: skip


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_only_adapters_and_head_move_and_the_change_is_their_product(ema_decay, rows, tmp_path):
    model, extractor = adapted(rows, lora_alpha=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, extractor, rows, tmp_path, ema_decay=ema_decay, **OPTIONS)
    checkpoint, merged = load_file(tmp_path / "checkpoint-12/model.safetensors"), model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], checkpoint[name])}
    heads = ("projector.", "classifier.", "layer_weights")
    assert moved == {name for name in before if ".lora_" in name or name.startswith(heads)}
    for name, tensor in merged.items():
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" not in checkpoint:
            stem, _, last = name.rpartition(".")
            adapted_name = f"{stem}.base_layer.{last}"
            assert torch.equal(tensor, checkpoint.get(name, checkpoint.get(adapted_name))), name
            continue
        down = checkpoint[f"{layer}.lora_A.default.weight"].double().numpy()
        up = checkpoint[f"{layer}.lora_B.default.weight"].double().numpy()
        expected = before[f"{layer}.base_layer.weight"].double().numpy() + 4 / 8 * up @ down
        np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_resumed_training_ends_in_the_same_weights(ema_decay, rows, tmp_path):
    options = {**OPTIONS, "ema_decay": ema_decay, "eval_strategy": "steps", "eval_steps": 4}
    options |= {"load_best_model_at_end": True, "layer_decay": 0.8}
    model, extractor = adapted(rows)
    train(model, extractor, rows, tmp_path / "whole", evaluation=rows, **options)

    again, extractor = adapted(rows)
    trainer = SERTrainer(again, arguments(tmp_path / "again", **options), train_dataset=rows, eval_dataset=rows,
                         processing_class=extractor)  # fmt: skip
    half = tmp_path / "whole/checkpoint-4"
    assert last_checkpoint(half.parent).endswith("checkpoint-12")
    trainer.train(resume_from_checkpoint=str(half))
    last = [load_file(tmp_path / run / "checkpoint-12/model.safetensors") for run in ("whole", "again")]
    for one, other in (last, (model.state_dict(), again.state_dict())):
        for name, tensor in one.items():
            torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=0, msg=name)
    untrained, _ = build_classifier("tiny-hubert", rows.features["label"].names)
    assert list(again.state_dict()) == list(untrained.state_dict())


def test_a_checkpoint_is_no_model_and_the_finished_folder_needs_neither_peft_nor_ser_hf(rows, tmp_path):
    model, extractor = adapted(rows)
    trainer = train(model, extractor, rows, tmp_path, **OPTIONS)
    for load in (Classifier.from_pretrained, lambda name: build_classifier(name, rows.features["label"].names)):
        with pytest.raises(ModelError, match="a checkpoint of an unfinished LoRA training"):
            load(str(tmp_path / "checkpoint-4"))
    trainer.save_model(tmp_path / "finished")
    waveform = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    np.save(tmp_path / "waveform.npy", waveform)
    script = """
import sys
sys.modules["ser_hf"] = sys.modules["peft"] = None  # an import of them would fail
import numpy, transformers
classify = transformers.pipeline("audio-classification", model="finished")
print(*[entry["score"] for entry in sorted(classify(numpy.load("waveform.npy"), top_k=None), key=lambda e: e["label"])])
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    answer = [float(word) for word in ended.stdout.splitlines()[-1].split()]
    wanted = Classifier(model, extractor).probabilities([{"array": waveform, "sampling_rate": RATE}])[0]
    labels = list(model.config.id2label.values())
    np.testing.assert_allclose(answer, wanted[np.argsort(labels)], atol=1e-5)
    assert not list(Path(tmp_path, "finished").glob("adapter*"))


@pytest.mark.parametrize(
    ("name", "settings"), [("parallel-transformer", {}), ("fusion", {"inputs": "log_mel"}), ("test_resnet", {})]
)
def test_models_without_a_speech_encoder_take_no_adapters(name, settings):
    model, _ = build_classifier(name, ["anger", "neutral"], settings=settings)
    with pytest.raises(ModelError, match="adapters need a speech encoder"):
        add_adapters(model, rank=2, alpha=4)
    assert all(parameter.requires_grad for parameter in model.parameters()), "nothing was frozen on the way"
