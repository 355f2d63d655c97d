"""Models of other people: each kind has the scores of a stock pipeline, or is refused in one sentence."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from answers import by_label
from conftest import write_tone
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    BertConfig,
    BertForSequenceClassification,
    Data2VecAudioConfig,
    Data2VecAudioForSequenceClassification,
    HubertForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
    WavLMForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    pipeline,
)

from ser_hf import Classifier
from ser_hf.audio import read_audio
from ser_hf.cli.main import main
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.stock.builder import TINY, TINY_SIZES

LABELS = ["anger", "fear", "neutral"]
NAMED = {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}
SIZES = {**TINY_SIZES, "vocab_size": 10, "num_codevectors_per_group": 4, "codevector_dim": 8, "proj_codevector_dim": 8}
SMALL_WHISPER = dict(
    d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0,
)  # fmt: skip
WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"


def save(folder, model, extractor, **how):
    with torch.no_grad():  # an untrained head hides differences that a trained one shows
        for name, parameter in model.named_parameters():
            if name.startswith(("classifier", "head")):
                parameter.mul_(20)
    model.save_pretrained(folder, **how)
    if extractor is not None:
        extractor.save_pretrained(folder)


def stock(kind="wav2vec2", model_class=Wav2Vec2ForSequenceClassification, extractor=None, **changes):
    """A maker of a stock checkpoint."""
    front = Wav2Vec2FeatureExtractor(return_attention_mask=True) if extractor is None else extractor

    def make(folder):
        torch.manual_seed(0)
        save(folder, model_class(TINY[f"tiny-{kind}"](**{**SIZES, **NAMED, **changes})), front)

    return make


def another(model_class, config, extractor):
    def make(folder):
        torch.manual_seed(0)
        save(folder, model_class(config), extractor)

    return make


def changed(*, weights=None, config=None, preprocessor=None, make=None):
    """A maker of a checkpoint in which somebody changed weights (a function) or settings (None removes one)."""

    def changing(folder):
        (make or stock())(folder)
        if weights is not None:
            save_file(weights(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})
        for name, changes in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
            if changes is not None:
                content = {**json.loads((folder / name).read_text()), **changes}
                kept = {key: value for key, value in content.items() if value is not REMOVED}
                (folder / name).write_text(json.dumps(kept))

    return changing


REMOVED = object()


def having(replaced, *removed, make=None):
    """A maker of a checkpoint with files replaced by these texts or bytes, and without the removed ones."""

    def replacing(folder):
        (make or stock())(folder)
        for name in removed:
            (folder / name).unlink()
        for name, content in replaced.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return replacing


def only(*files):
    """A maker of a folder with nothing but these files."""

    def make(folder):
        folder.mkdir()
        for file in files:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text("{}" if file.endswith(".json") else "x")

    return make


def without_weights_but(file):
    return having({file: "x"}, WEIGHTS)


def truncated(folder):
    stock()(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def sharded(folder, lost=None):
    torch.manual_seed(0)
    model = Wav2Vec2ForSequenceClassification(TINY["tiny-wav2vec2"](**SIZES, **NAMED))
    save(folder, model, Wav2Vec2FeatureExtractor(return_attention_mask=True), max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    if lost:
        next(folder.glob(lost)).unlink()


def pickled(folder):
    stock()(folder)
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def run_of_folds(folder):
    for fold in ("fold0", "fold1"):
        stock()(folder / fold)


def unfinished_run(folder):
    for step in (500, 1000):
        stock()(folder / f"checkpoint-{step}")
    (folder / "run.yaml").write_text("seed: 1")


def checkpoint_without_config(folder):
    having({"trainer_state.json": "{}"}, CONFIG, PREPROCESSOR)(folder)


CODE = '''
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnConfig(PreTrainedConfig):
    model_type = "own_net"


class OwnModel(PreTrainedModel):
    """Level and steepness of a waveform, padding included -> class."""

    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(2, config.num_labels)
        self.post_init()

    def forward(self, INPUTS, attention_mask=None):
        logits = self.head(torch.stack([INPUTS.abs().mean(-1), 10 * INPUTS.diff().abs().mean(-1)], dim=-1))
        return RETURNS
'''


def own_code(returns="SequenceClassifierOutput(logits=logits)", inputs="input_values", kind="AudioClassification"):
    """A maker of a model with code in its folder."""

    def make(folder):
        folder.mkdir()
        source = folder.with_name(f"modeling_{folder.name}.py")
        source.write_text(CODE.replace("RETURNS", returns).replace("INPUTS", inputs))
        spec = importlib.util.spec_from_file_location(source.stem, source)
        module = sys.modules[source.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.OwnConfig.register_for_auto_class()
        module.OwnModel.register_for_auto_class(f"AutoModelFor{kind}")
        torch.manual_seed(0)
        save(folder, module.OwnModel(module.OwnConfig(**NAMED)), Wav2Vec2FeatureExtractor(do_normalize=False))

    return make


def with_head_of_another_class(weights):
    kept = {name: one for name, one in weights.items() if not name.startswith(("projector", "classifier"))}
    return {**kept, "classifier.dense.weight": torch.ones(64, 64), "classifier.out_proj.weight": torch.ones(3, 64)}


def without_a_layer(weights):
    return {name: one for name, one in weights.items() if ".layers.1." not in name}


def with_nan(weights):
    weights["classifier.bias"][0] = float("nan")
    return weights


def with_more(name):
    return lambda weights: {**weights, name: torch.ones(64)}


# --- what is scored ---------------------------------------------------------------------------------------------------

GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
DATA2VEC = {
    name: size
    for name, size in SIZES.items()
    if name not in ("feat_extract_norm", "do_stable_layer_norm", "num_conv_pos_embeddings")
}
SCORED = {
    "wav2vec2": stock(),
    "hubert": stock("hubert", HubertForSequenceClassification),
    "wavlm": stock("wavlm", WavLMForSequenceClassification),
    "group norm, no mask": stock(extractor=Wav2Vec2FeatureExtractor(return_attention_mask=False), **GROUP_NORM),
    "whisper": another(
        WhisperForAudioClassification, WhisperConfig(**SMALL_WHISPER, **NAMED), WhisperFeatureExtractor()
    ),
    "spectrogram transformer": another(
        ASTForAudioClassification,
        ASTConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_length=128,
            num_mel_bins=32,
            **NAMED,
        ),
        ASTFeatureExtractor(max_length=128, num_mel_bins=32),
    ),
    "data2vec": another(
        Data2VecAudioForSequenceClassification,
        Data2VecAudioConfig(**DATA2VEC, **NAMED, num_conv_pos_embeddings=3, conv_pos_kernel_size=9),
        Wav2Vec2FeatureExtractor(return_attention_mask=True),
    ),
    "multi-label": changed(config={"problem_type": "multi_label_classification"}),
    "half precision": changed(weights=lambda weights: {name: one.half() for name, one in weights.items()}),
    "pickled": pickled,
    "sharded": sharded,
    "vector for masked frames": changed(weights=with_more("wav2vec2.masked_spec_embed")),
    "left from pretraining": changed(weights=with_more("quantizer.weight_proj.bias")),
    "class not named": changed(config={"architectures": REMOVED}),
    "own code": own_code(),
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return [write_tone(folder / f"{hertz}.wav", seconds=hertz / 400, hertz=hertz) for hertz in (200, 300, 400)]


@pytest.mark.parametrize("kind", SCORED)
def test_scores_are_those_of_a_stock_pipeline(kind, tones, tmp_path):
    SCORED[kind](tmp_path / "model")
    trusted = kind == "own code"
    found = Classifier.from_pretrained(str(tmp_path / "model"), device="cpu", trust_remote_code=trusted)(
        [str(tone) for tone in tones]
    )
    pipe = pipeline(
        "audio-classification", str(tmp_path / "model"), device="cpu", dtype=torch.float32, trust_remote_code=trusted
    )
    for tone, ours in zip(tones, found, strict=True):
        theirs = {one["label"]: one["score"] for one in pipe(read_audio(str(tone), sampling_rate=16_000), top_k=None)}
        assert by_label(ours) == pytest.approx(theirs, abs=1e-5)
    answers = np.array([sorted(by_label(answer).items()) for answer in found])[..., 1].astype(float)
    assert answers.std(axis=0).max() > 1e-6, "a model that hears nothing would pass"


def test_classes_without_names_are_scored_with_a_warning(tones, tmp_path, capsys, monkeypatch):
    changed(config={"id2label": {str(number): f"LABEL_{number}" for number in range(3)}, "label2id": REMOVED})(
        tmp_path / "model"
    )
    with pytest.warns(UserWarning, match="has no names for its classes, only LABEL_0, LABEL_1, LABEL_2: add them"):
        classifier = Classifier.from_pretrained(str(tmp_path / "model"))
    assert set(by_label(classifier(str(tones[0])))) == {"LABEL_0", "LABEL_1", "LABEL_2"}
    monkeypatch.setattr(sys, "argv", ["ser-hf", "predict", str(tmp_path / "model"), str(tones[0])])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")] == [
        f"warning: {tmp_path}/model has no names for its classes, only LABEL_0, LABEL_1, LABEL_2: add them to the "
        "id2label of its config.json"
    ]


# --- what is refused --------------------------------------------------------------------------------------------------

BERT = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
REFUSED = {
    # weights
    "weights of another class": (
        changed(weights=with_more("pooling.attention.weight")),
        r"holds weights that Wav2Vec2ForSequenceClassification does not use \(pooling.attention.weight\)",
    ),
    "layers above those of the configuration": (
        changed(weights=with_more("wav2vec2.encoder.layers.2.final_layer_norm.weight")),
        r"does not use \(wav2vec2.encoder.layers.2.final_layer_norm.weight\)",
    ),
    "a layer is missing": (changed(weights=without_a_layer), r"lacks weights \(wav2vec2.encoder.layers.1.* noise"),
    "not finite": (changed(weights=with_nan), r"has NaN or infinite weights \(classifier.bias\)"),
    "git-LFS pointer": (
        having({WEIGHTS: "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"}),
        "model.safetensors is only a pointer of git-LFS to the real file: run `git lfs pull`",
    ),
    "truncated": (truncated, "model.safetensors is damaged or incomplete .*: fetch it again"),
    "an empty file": (having({WEIGHTS: ""}), "model.safetensors is empty: fetch it again"),
    "no weights": (having({}, WEIGHTS), r"has no weights \(model.safetensors or pytorch_model.bin\)"),
    "a shard is lost": (lambda folder: sharded(folder, "model-00002*"), "has lost the file model-00002-of-"),
    "a damaged pickle": (having({"pytorch_model.bin": "x"}, WEIGHTS), "cannot be loaded"),
    # front end
    "no front end": (having({}, PREPROCESSOR), "has no preprocessor_config.json, so it is unknown how its input is"),
    "front end is no JSON": (having({PREPROCESSOR: "{oops"}), "preprocessor_config.json' is not a valid JSON file"),
    "no sampling rate": (changed(preprocessor={"sampling_rate": None}), "sampling_rate = None: correct it"),
    "a sampling rate of 0": (changed(preprocessor={"sampling_rate": 0}), "sampling_rate = 0: correct it"),
    "a sampling rate in words": (changed(preprocessor={"sampling_rate": "16000"}), "sampling_rate = '16000'"),
    # other libraries
    "SpeechBrain": (only("hyperparams.yaml", "label_encoder.txt", "model.ckpt"), "files of SpeechBrain"),
    "SpeechBrain with a config": (
        having({CONFIG: "{}", "hyperparams.yaml": "x"}),
        r"holds files of SpeechBrain \(hyperparams.yaml\), not of transformers: score your recordings",
    ),
    "fairseq": (only("model.pt"), "files of fairseq or another program"),
    "TensorFlow": (without_weights_but("tf_model.h5"), r"files of TensorFlow \(tf_model.h5\), .*from_tf=True"),
    "TensorFlow's own form": (only("saved_model.pb", "variables/variables.index"), "files of TensorFlow"),
    "Keras": (only("emotion.keras"), "files of Keras"),
    "Flax": (without_weights_but("flax_model.msgpack"), "files of Flax .*from_flax=True"),
    "ONNX": (without_weights_but("model.onnx"), "files of ONNX"),
    "NeMo": (only("emotion.nemo"), "files of NVIDIA NeMo"),
    "GGUF": (only("model.gguf"), "files of llama.cpp"),
    "PEFT": (only("adapter_config.json", "adapter_model.safetensors"), "only adapters of PEFT .*merge_and_unload"),
    "sentence-transformers": (only("modules.json", "model.onnx"), "files of sentence-transformers"),
    "scikit-learn": (only("model.pkl"), "files of pickle, such as those of scikit-learn"),
    # other models
    "a head of another class": (
        changed(weights=with_head_of_another_class, config={"architectures": ["Wav2Vec2ForSpeechClassification"]}),
        r"was saved by Wav2Vec2ForSpeechClassification, which transformers does not have; .*classifier.dense.weight",
    ),
    "a head of another class under a stock name": (
        changed(weights=with_head_of_another_class),
        r"has the head of another class than Wav2Vec2ForSequenceClassification \(classifier.dense.weight, .* missing\)",
    ),
    "code of the front end": (
        changed(
            preprocessor={
                "feature_extractor_type": "MyExtractor",
                "auto_map": {"AutoFeatureExtractor": "front.MyExtractor"},
            }
        ),
        "needs code of its own repository: read it, then pass --trust-remote-code",
    ),
    "weights fit, but another class saved them": (
        changed(config={"architectures": ["Wav2Vec2ForMaxPooledClassification"]}),
        "was saved by Wav2Vec2ForMaxPooledClassification, which transformers does not have; Wav2Vec2ForSequence",
    ),
    "code that a stock configuration hides": (
        changed(
            config={
                "architectures": ["MyForAudioClassification"],
                "auto_map": {"AutoModelForAudioClassification": "modeling_mine.MyForAudioClassification"},
            }
        ),
        "needs code of its own repository: read its modeling_mine.py",
    ),
    "speech recognition": (
        stock(model_class=Wav2Vec2ForCTC),
        r"no trained emotion head \(Wav2Vec2ForCTC saved it\): train it first",
    ),
    "an encoder": (stock(model_class=Wav2Vec2Model), r"no trained emotion head \(Wav2Vec2Model saved it\)"),
    "Whisper": (
        another(WhisperForConditionalGeneration, WhisperConfig(**SMALL_WHISPER), WhisperFeatureExtractor()),
        r"no trained emotion head \(WhisperForConditionalGeneration saved it\)",
    ),
    "text": (
        another(BertForSequenceClassification, BertConfig(**BERT, vocab_size=30), None),
        "is a 'bert' model, not a classifier of audio",
    ),
    "pictures": (
        another(ViTForImageClassification, ViTConfig(**BERT, image_size=32), ViTImageProcessor()),
        "is a 'vit' model, not a classifier of audio",
    ),
    "a timm backbone": (
        having({CONFIG: '{"architecture": "resnet18", "num_classes": 0}'}),
        "is a timm backbone without an emotion head: train it first",
    ),
    "an unknown kind": (changed(config={"model_type": "emo_net"}), "is a 'emo_net' model, not a classifier of audio"),
    "code": (
        own_code(),
        r"needs code of its own repository: read its modeling_model.py, then pass --trust-remote-code",
    ),
    "code for another task": (own_code(kind="ImageClassification"), "code of its own, but none for audio class"),
    # classes
    "a label twice": (
        changed(config={"id2label": {"0": "anger", "1": "anger", "2": "fear"}}),
        r"has 2 classes called 'anger' \(id2label\): correct its config.json",
    ),
    "numbers with gaps": (
        changed(config={"id2label": {"0": "anger", "2": "fear", "5": "neutral"}}),
        r"numbers its classes 0, 2, 5 \(id2label\), not 0 to 2",
    ),
    "an empty label": (changed(config={"id2label": {"0": "anger", "1": "", "2": "fear"}}), "calls its class 1 ''"),
    "two more labels than scores": (
        changed(config={"id2label": {str(number): f"emotion{number}" for number in range(5)}}),
        r"has classifier.bias of the size 3, but its config.json asks for 5 \(id2label names 5 classes\)",
    ),
    "two numbers of labels": (changed(config={"num_labels": 7}), "has num_labels 7, but 3 names in id2label"),
    "two orders of labels": (
        changed(config={"label2id": {"anger": 2, "fear": 1, "neutral": 0}}),
        "gives 'anger' the number 0 in id2label, 2 in label2id",
    ),
    "a single class": (
        stock(id2label={0: "happy"}, label2id={"happy": 0}),
        "a single class",
    ),
    # folders
    "configuration is no JSON": (having({CONFIG: "{oops"}), "config.json is not JSON"),
    "configuration is a list": (having({CONFIG: "[1]"}), "config.json needs names and values, not a list"),
    "configuration is empty": (having({CONFIG: ""}), "config.json is not JSON"),
    "configuration without a kind": (changed(config={"model_type": REMOVED}), "names no model_type"),
    "an empty folder": (only(), "the folder is empty"),
    "a folder of something else": (only("notes.txt"), "it has no config.json"),
    "a run of several folds": (run_of_folds, "is a run with the folds fold0, fold1: pass one of them, .*/fold0"),
    "an unfinished run": (unfinished_run, "is an unfinished run: .*/checkpoint-1000"),
    "checkpoints": (lambda folder: stock()(folder / "checkpoint-7"), "holds checkpoints: pass one of them"),
    "a checkpoint of a Trainer": (checkpoint_without_config, "a checkpoint of a Trainer without its config.json"),
    "a file": (lambda folder: folder.write_text("x"), "is a file: pass the folder that holds it"),
    "nothing": (lambda folder: None, "there is no model .*: the folder does not exist"),
}


def told(words, capsys, monkeypatch):
    """The one line with which a command ends."""
    monkeypatch.setattr(sys, "argv", ["ser-hf", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    assert printed.err.startswith("ser-hf: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_scores_of_its_author_is_refused_in_one_line(kind, tones, tmp_path, capsys, monkeypatch):
    make, says = REFUSED[kind]
    make(tmp_path / "model")
    capsys.readouterr()
    line = told(["predict", tmp_path / "model", tones[0]], capsys, monkeypatch)
    with pytest.raises(ModelError, match=says) as error:
        Classifier.from_pretrained(str(tmp_path / "model"))
    assert line == f"ser-hf: {error.value}\n"
    assert not str(error.value).endswith((".", " "))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (own_code("(logits,)"), "returns a tuple without `logits`, which a stock pipeline needs too"),
        (own_code("{'scores': logits}"), "returns a dict without `logits`"),
        (own_code("SequenceClassifierOutput(logits=logits[:, None])"), r"of the size \(1, 1, 3\) instead of \(1, 3\)"),
        (own_code(inputs="waves"), "fails on input_values of a recording .*unexpected keyword argument 'input_values'"),
    ],
    ids=["tuple", "dictionary", "frames", "other inputs"],
)  # fmt: skip
def test_code_of_others_that_a_pipeline_cannot_use_is_refused_in_one_line(
    make, says, tones, tmp_path, capsys, monkeypatch
):
    make(tmp_path / "model")
    capsys.readouterr()
    line = told(["predict", tmp_path / "model", tones[0], "--trust-remote-code"], capsys, monkeypatch)
    classifier = Classifier.from_pretrained(str(tmp_path / "model"), trust_remote_code=True)
    with pytest.raises(ModelError, match=says) as error:
        classifier([str(tones[0])])
    assert line == f"ser-hf: {error.value}\n"


@pytest.mark.parametrize("name", ["someone/emotions", "emotions"])
def test_a_name_on_the_hub_without_a_network_is_a_whole_sentence(name, tones, capsys, monkeypatch):
    line = told(["predict", name, tones[0]], capsys, monkeypatch)
    assert line == (
        f"ser-hf: there is no model {name!r}: it is not a folder here, it was not downloaded before, and the Hub "
        "cannot be reached; pass a folder, or connect to a network\n"
    )


def test_a_repository_of_another_library_is_known_by_its_files(monkeypatch):
    from ser_hf.models import checkpoint_files

    def repository(*files):
        monkeypatch.setattr(checkpoint_files.HfApi, "list_repo_files", lambda self, name: list(files))
        checkpoint_files.refuse_unfit_repository("someone/emotions", OSError("no config.json with a model_type"))

    with pytest.raises(ModelError, match=r"someone/emotions holds files of SpeechBrain \(hyperparams.yaml\)"):
        repository("README.md", "hyperparams.yaml", "model.ckpt")
    with pytest.raises(ModelError, match="someone/emotions holds only adapters of PEFT"):
        repository("adapter_config.json", "adapter_model.safetensors")
    repository("README.md")  # the caller has words of its own


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (GatedRepoError, "someone/emotions is gated: accept its terms on https://huggingface.co/someone/emotions"),
        (RepositoryNotFoundError, "there is no model 'someone/emotions': .* the Hub has no such model"),
        (LocalEntryNotFoundError, "the Hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_a_whole_sentence(kind, says):
    from ser_hf.models.checkpoint_files import refuse_unfit_repository

    cause = kind.__new__(kind)  # as a cause only its kind matters
    try:
        raise OSError("You are trying to access\na gated repo") from cause
    except OSError as error:
        with pytest.raises(ModelError, match=says):
            refuse_unfit_repository("someone/emotions", error)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "no device"])
def test_a_device_that_is_not_there_is_one_line(device, tmp_path):
    stock()(tmp_path / "model")
    with pytest.raises(ModelError, match=rf"device '{device}' cannot be used here \(.*\): use cpu") as error:
        Classifier.from_pretrained(str(tmp_path / "model"), device=device)
    assert "\n" not in str(error.value)


# --- what is trained on -----------------------------------------------------------------------------------------------

WHISPER = another(WhisperForConditionalGeneration, WhisperConfig(**SMALL_WHISPER), WhisperFeatureExtractor())
BASES = {
    "encoder": stock(model_class=Wav2Vec2Model),
    "pretraining": stock(model_class=Wav2Vec2ForPreTraining),
    "speech recognition": stock(model_class=Wav2Vec2ForCTC),
    "vector for masked frames": changed(
        weights=with_more("masked_spec_embed"), make=stock(model_class=Wav2Vec2Model, id2label={0: "a", 1: "b"})
    ),
    "pooling of another class": changed(weights=with_more("pooling.attention.weight")),
    "classes without names": stock(id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1}),
    "whisper": WHISPER,
}


@pytest.mark.parametrize("ssl", [False, True], ids=["trained", "under a machine"])
@pytest.mark.parametrize("kind", BASES)
def test_an_encoder_is_trained_on_with_its_own_weights(kind, ssl, tmp_path):
    BASES[kind](tmp_path / "model")
    name, settings = ("svm", {"ssl": str(tmp_path / "model")}) if ssl else (str(tmp_path / "model"), None)
    model, _ = build_classifier(name, LABELS, settings=settings)
    encoder = model.encoder if ssl or kind == "whisper" else model.wav2vec2
    theirs = load_file(tmp_path / "model" / WEIGHTS)
    inside = [name for name in theirs if "encoder.layers.0" in name]
    assert len(inside) > 10
    for name in inside:
        own = name.removeprefix("model.encoder.").removeprefix("wav2vec2.")
        torch.testing.assert_close(encoder.get_parameter(own), theirs[name], rtol=0, atol=0)


def without_a_whisper_layer(weights):
    return {name: one for name, one in weights.items() if "encoder.layers.1." not in name}


NOT_BASES = {
    "a layer is missing": (
        changed(weights=without_a_layer, make=stock(model_class=Wav2Vec2Model)),
        r"does not hold the whole encoder .*encoder.layers.1.* missing\): these weights would be random",
    ),
    "a layer of a classifier is missing": (changed(weights=without_a_layer), "does not hold the whole encoder"),
    "a layer of Whisper is missing": (
        changed(weights=without_a_whisper_layer, make=WHISPER),
        r"does not hold the whole encoder .*encoder.layers.1.* missing",
    ),
    "all names are others": (
        changed(weights=lambda weights: {f"student.{name}": one for name, one in weights.items()}),
        "does not hold the whole encoder",
    ),
    "another width": (
        changed(config={"intermediate_size": 96}, make=stock(model_class=Wav2Vec2Model)),
        "does not hold the whole encoder .*of another size",
    ),
    "fewer layers": (
        changed(config={"num_hidden_layers": 1}, make=stock(model_class=Wav2Vec2Model)),
        "holds more than its config.json describes",
    ),
    "code": (own_code(), "is a 'own_net' model, which is not supported; use one of hubert"),
    **{
        kind: REFUSED[kind]
        for kind in (
            "git-LFS pointer", "truncated", "an empty file", "no weights", "a shard is lost", "a damaged pickle",
            "no front end", "front end is no JSON", "a sampling rate of 0", "SpeechBrain", "fairseq", "TensorFlow",
            "ONNX", "PEFT", "not finite", "configuration is no JSON", "configuration without a kind", "an empty folder",
            "a run of several folds", "a checkpoint of a Trainer", "a file", "nothing",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_BASES)
def test_an_encoder_that_would_be_partly_random_is_not_trained_on(kind, tmp_path):
    make, says = NOT_BASES[kind]
    make(tmp_path / "model")
    for name, settings in ((str(tmp_path / "model"), None), ("svm", {"ssl": str(tmp_path / "model")})):
        with pytest.raises(ModelError, match=says) as error:
            build_classifier(name, LABELS, settings=settings)
        assert "\n" not in str(error.value)


def test_a_folder_called_like_an_architecture_of_timm_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stock()(Path("resnet18"))
    assert build_classifier("resnet18", LABELS)[0].config.model_type == "wav2vec2"
    shutil.rmtree("resnet18")
    assert build_classifier("resnet18", LABELS)[0].config.model_type == "ser_spectrogram"
