import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from ser_hf.emotions import get_scheme
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments, _named_values
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.parser import OptionError, fill, parse, run_recipe, save_arguments

ALL = (DataArguments, ModelArguments, SERTrainingArguments)
NEEDED = "corpora: [emodb]\nscheme: emodb7\nprotocols: [emodb/loso]\nmodel_name_or_path: tiny-hubert\nuse_cpu: true\n"


@dataclass
class Needed:
    corpus: str = field(metadata={"help": "required"})


@pytest.fixture
def config(tmp_path):
    def write(text):
        (tmp_path / "run.yaml").write_text(text)
        return str(tmp_path / "run.yaml")

    return write


def test_yaml_gives_defaults_with_types_and_the_command_line_overrides(config):
    path = config(
        NEEDED + "learning_rate: 1e-4\ncorpora: [ravdess, emodb]\nroots: {ravdess: /r, emodb: /e}\nweight_classes: true"
    )
    data, _, training = parse(*ALL, argv=[path, "--num_train_epochs", "3", "--corpora", "nemo"])
    assert training.learning_rate == pytest.approx(1e-4)  # YAML 1.1 reads 1e-4 as a string
    assert training.num_train_epochs == 3
    assert training.weight_classes is True
    assert data.corpora == ["nemo"]
    assert data.roots == ["ravdess=/r", "emodb=/e"]


def test_an_empty_list_on_the_command_line_takes_back_that_of_the_file(config):
    path = config(NEEDED + "front_end: [crop_seconds=3.0]\naugment: [noise=5..20]")
    _, model, training = parse(*ALL, argv=[path, "--front_end", "--augment", "mixup=0.2"])
    assert (model.front_end, training.augment) == ([], ["mixup=0.2"])
    with pytest.raises(OptionError, match="--corpora"):  # required options need a value
        parse(*ALL, argv=[path, "--corpora"])


def test_a_yaml_key_satisfies_a_required_option(config):
    assert parse(Needed, argv=[config("corpus: emodb")])[0].corpus == "emodb"


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        ("learning_rte: 1", [], "unknown option 'learning_rte'; did you mean 'learning_rate'?"),
        ("", ["--learning-rte=1"], "did you mean 'learning_rate'?"),
        ("", ["--max_stepss", "1"], "did you mean 'max_steps'? (--help lists all)\n"),  # and not two hundred names
        ("", ["stray"], "unexpected 'stray': options begin with --, and a .yaml file comes first"),
        ("", ["--seed", "many"], "invalid int value: 'many'"),
        ("balance: speakers", [], "--balance: invalid choice: 'speakers' (choose from "),
        ("augment_rare_classes: true", [], "--augment_rare_classes needs --augment"),
        ("folds: [-1, 2]", [], "-1"),
        ("folds: [1, 1]", [], "--folds names 1 twice"),
        ("roots: [emodb=a, emodb=b]", [], "--roots names 'emodb' twice"),
        ("roots: [ravdess]", [], "'ravdess'"),
        ("label_smoothing_factor: 1.5", [], "--label_smoothing_factor must be in [0, 1), not 1.5"),
        ("- a\n- b", [], "needs lines of the form `option: value`"),
        ("a: b: c", [], "mapping values are not allowed"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(config, capsys, text, argv, message):
    with pytest.raises(SystemExit) as ended:
        run_recipe(lambda: parse(*ALL, argv=[config(NEEDED + text if not text.startswith("-") else text), *argv]))
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_missing_configuration_file_is_named():
    with pytest.raises(OptionError, match=r"nowhere\.yaml"):
        parse(*ALL, argv=["nowhere.yaml"])


def test_saved_options_are_read_back_and_another_run_is_not_overwritten(config, tmp_path):
    argv = [config(NEEDED), "--learning_rate", "0.003", "--output_dir", str(tmp_path / "run")]
    first = parse(*ALL, argv=argv)
    assert save_arguments(tmp_path / "run", *first) is False
    again = parse(*ALL, argv=[str(tmp_path / "run/run.yaml")])
    assert again[2].learning_rate == pytest.approx(0.003)
    assert again[0] == first[0]
    assert save_arguments(tmp_path / "run", *again) is True
    other = parse(*ALL, argv=[*argv, "--seed", "7"])
    with pytest.raises(OptionError, match=r"\(seed; see its run\.yaml\): choose another --output_dir"):
        save_arguments(tmp_path / "run", *other)


def test_options_are_the_same_whichever_way_python_writes_them(tmp_path):
    needed = {"corpora": ["synthetic"], "scheme": "five", "protocols": ["synthetic/si4"]}

    def saved(**options):
        return save_arguments(tmp_path, *fill((DataArguments, SERTrainingArguments), {**needed, **options}))

    assert saved(folds=[0, 1], num_train_epochs=7, precomputed="cache") is False
    assert saved(folds=(0, 1), num_train_epochs=7.0, precomputed=Path("cache")) is True
    with pytest.raises(OptionError, match=r"\(folds, precomputed; see"):
        saved(folds=(0, 2), num_train_epochs=7, precomputed=Path("other"))


@pytest.mark.parametrize("left", ["checkpoint-5/trainer_state.json", "fold0/predictions.parquet"])
def test_what_is_left_of_a_run_of_unknown_options_is_not_gone_on_with(left, config, tmp_path):
    options = parse(*ALL, argv=[config(NEEDED)])
    run = tmp_path / "run"
    (run / left).parent.mkdir(parents=True)
    (run / left).touch()
    with pytest.raises(OptionError, match=r"without a run\.yaml: choose another --output_dir or remove the folder"):
        save_arguments(run, *options)
    (run / left).with_name("run.yaml").touch()
    assert save_arguments(run, *options) is False, "a run of its own further down is in nobody's way"


def test_numbers_of_settings_stay_numbers(config):
    words = config(f"{NEEDED}front_end: {{log_floor: 1.0e-06, crop_seconds: 3.5, deltas: 2, power: null}}\n")
    _, model_args, *_ = parse(*ALL, argv=[words])
    assert _named_values(model_args.front_end) == {"log_floor": 1e-6, "crop_seconds": 3.5, "deltas": 2, "power": None}
    assert _named_values(["a=1e-6", "b=true", "c=word", "d=[1, 2]"]) == {"a": 1e-6, "b": True, "c": "word", "d": [1, 2]}


def refused_by_us():
    get_scheme("fuor")


def overflown():
    from types import SimpleNamespace

    from ser_hf.training.callbacks import NonFiniteGuard

    layer = torch.nn.Linear(1, 1)
    layer.weight.grad = torch.full((1, 1), torch.inf)
    guard = NonFiniteGuard(limit=0)
    guard.utterances = ["ravdess/Actor_01/a"]
    guard.on_pre_optimizer_step(None, SimpleNamespace(global_step=0), None, model=layer)


def interrupted():
    raise KeyboardInterrupt


def test_what_a_recipe_of_ours_refuses_is_one_line_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as ended:
        run_recipe(refused_by_us)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean 'four'?" in line


def test_a_training_that_overflows_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        run_recipe(overflown)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Its utterances: ravdess/Actor_01/a. Lower the learning rate" in line


def test_an_error_of_somebody_else_keeps_its_traceback():
    with pytest.raises(json.JSONDecodeError):
        run_recipe(lambda: json.loads("four"))


def test_an_interruption_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as ended:
        run_recipe(interrupted)
    assert ended.value.code == 130
    assert "run the same command again" in capsys.readouterr().err
