"""`ser_hf.train` and `ser-hf train`: what the recipes do, without the repository."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from answers import by_label

import ser_hf
from ser_hf.cli.evaluate import evaluate_model
from ser_hf.cli.train import _fitted_by, configuration, train_words
from ser_hf.files import OPTIONS, TEST
from ser_hf.inference.abstention import VALIDATION, Abstention
from ser_hf.inference.evaluate import thresholds_on
from ser_hf.options import OptionError
from ser_hf.splits.ledger import Ledger
from ser_hf.training.fitted.lda import LDAArguments
from ser_hf.training.fitted.svm import SVMArguments
from ser_hf.training.train import shipped_configs

pytestmark = pytest.mark.slow

SVM = dict(protocol="synthetic/si4", folds=[0])


@pytest.fixture(scope="module")
def run(synthetic, tmp_path_factory):
    return ser_hf.train(synthetic, "svm", output_dir=str(tmp_path_factory.mktemp("run") / "svm"), **SVM)


def test_a_run_has_its_report_its_tables_and_a_classifier(run, synthetic):
    assert run.report.n == len(run.tables.test.rows) > 0
    assert run.report.uar > 0.5  # five classes: chance is 0.2
    answer = by_label(run.classifier()(synthetic[0]["audio"]))
    assert set(answer) == set(synthetic.features["label"].names)
    assert "UAR" in repr(run)
    with pytest.raises(ValueError, match="3"):
        run.classifier(3)


def test_the_command_line_gives_the_same_predictions(run, tmp_path):
    words = ["synthetic_svm", "--folds", "0", "--output_dir", str(tmp_path / "svm")]
    train_words(words)
    first, second = (pandas.read_parquet(folder / TEST) for folder in (run.folder, tmp_path / "svm"))
    pandas.testing.assert_frame_equal(first, second)


def test_a_finished_run_is_kept_and_another_dataset_is_refused(run, synthetic):
    written = (run.folder / TEST).stat().st_mtime_ns
    again = ser_hf.train(synthetic, "svm", output_dir=str(run.folder), **SVM)
    assert (run.folder / TEST).stat().st_mtime_ns == written
    assert again.report.rates["uar"] == run.report.rates["uar"]
    fewer = synthetic.filter(lambda row: row["utterance_id"] != run.tables.test.rows["utterance_id"][0])
    with pytest.raises(ValueError, match="other utterances"):
        ser_hf.train(fewer, "svm", output_dir=str(run.folder), **SVM)


def test_an_unknown_option_is_refused_with_the_nearest_name(synthetic):
    with pytest.raises(ValueError, match="learning_rate"):
        ser_hf.train(synthetic, "tiny-hubert", learning_rte=1e-3, **SVM)


def test_configurations_are_found_by_name():
    assert configuration("ravdess_whisper") == shipped_configs()["ravdess_whisper"]
    with pytest.raises(ValueError, match="ravdess_whisper"):
        configuration("ravdess_wisper")


def test_a_run_records_its_options(run):
    assert "synthetic/si4" in (run.folder / OPTIONS).read_text()


def test_a_table_is_trained_on_too(synthetic, tmp_path):
    """Its corpus is none of ours, and has no choice of labels."""
    columns = ["utterance_id", "speaker", "emotion", "audio"]
    few = synthetic.select(range(0, len(synthetic), 4)).select_columns(columns)
    few.add_column("corpus", ["mine"] * len(few)).to_parquet(tmp_path / "mine.parquet")
    dataset = ser_hf.load_corpus(tmp_path / "mine.parquet", scheme="five")
    run = ser_hf.train(dataset, "svm", protocol="mine/kfold5", folds=[0], output_dir=str(tmp_path / "run"))
    assert (run.report.protocol, run.report.corpora, run.report.relation) == ("mine/kfold5", ["mine"], "held_out")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], SVMArguments),
        (["--refit", "true"], SVMArguments),
        (["--folds", "0"], SVMArguments),
        (["--inputs", "both", "--model_name_or_path", "cnn"], SVMArguments),
        (["--model_name_or_path", "svm"], SVMArguments),
        (["--model-name-or-path=svm:tiny-hubert", "--folds", "0"], SVMArguments),
        (["--model_name_or_path", "lda:tiny-hubert"], LDAArguments),
        (["lda.yaml"], LDAArguments),
        (["lda.yaml", "--model_name_or_path", "tiny-hubert"], None),
        (["--model_name_or_path", "cnn"], None),
        (["--learning_rate", "1e-4"], None),
        (["--model-name-or-path", "tiny-hubert", "--learning-rate", "1e-4"], None),
        (["--help"], None),
    ],
)
def test_options_tell_which_model_is_fitted(words, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lda.yaml").write_text("model_name_or_path: lda:tiny-hubert\n")
    assert _fitted_by(words) is options


@pytest.mark.parametrize(("content", "says"), [("a: [\n", "is not YAML"), ("- refit\n", "`option: value`, not a list")])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, content, says):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(OptionError, match=rf"mine\.yaml .*{says}"):
        train_words([str(tmp_path / "mine.yaml")])


def test_a_model_that_was_trained_on_the_validation_part_is_evaluated_as_such(synthetic, tmp_path):
    run = ser_hf.train(synthetic, "svm", refit=True, output_dir=str(tmp_path), **SVM)
    again = evaluate_model(str(run.folder), "synthetic").test
    assert again.metadata.protocol == run.report.protocol == "synthetic/si4+refit"


# --- the final model ---


@pytest.fixture(scope="module")
def few(synthetic):
    """Two utterances of each emotion by each of nine speakers, too few for one fold alone."""
    speakers = sorted(set(synthetic["speaker"]))[:9]
    return synthetic.filter(lambda row: row["speaker"] in speakers and row["utterance_id"][-3:] in ("0_0", "2_0"))


def test_the_final_machine_bears_the_figures_of_all_folds_and_says_so(few, tmp_path):
    crossed = ser_hf.train(few, "svm", protocol="synthetic/kfold3", output_dir=str(tmp_path / "crossed"))
    assert crossed.folds == (0, 1, 2), "nine speakers are few: all folds run"
    options = dict(protocol="synthetic/all", cross_validated=str(tmp_path / "crossed"))
    final = ser_hf.train(few, "svm", output_dir=str(tmp_path / "final"), **options)
    assert final.report.rates == crossed.report.rates
    assert "it has no test utterances of its own" in (tmp_path / "final" / "README.md").read_text()
    ledger = Ledger.of_model(str(final.folder))
    assert sorted(ledger.trainings[-1].speakers["train"]) == sorted(set(few["speaker"]))
    classifier = final.classifier()
    assert set(by_label(classifier(few[0]["audio"]))) == set(few.features["label"].names)
    kept, table = Abstention.of(classifier.model), crossed.tables.validation
    assert kept == thresholds_on(table.probabilities, table.references, table.rows["speaker"], VALIDATION)
    with pytest.raises(ValueError, match="cost"):
        ser_hf.train(few, "svm", cost=1.0, output_dir=str(tmp_path / "other"), **options)
    with pytest.raises(ValueError, match="tested 90 utterances, but here are 89"):
        ser_hf.train(few.select(range(89)), "svm", output_dir=str(tmp_path / "fewer"), **options)


@pytest.mark.parametrize("refit", [False, True])
def test_only_training_rows_decide_about_c_gamma_and_probabilities(few, tmp_path, refit):
    """The speakers of the other parts exchange their recordings and get wrong labels: no bit of the machine changes."""
    parts = ser_hf.split(few, "synthetic/kfold3", 0)
    changed = set(parts["test"]["speaker"]) | set([] if refit else parts["validation"]["speaker"])
    speakers = np.array(few["speaker"])
    order = np.arange(len(few))
    for speaker in changed:
        rows = np.flatnonzero(speakers == speaker)
        order[rows] = np.roll(rows, 1)
    labels, is_changed = np.array(few["label"]), np.isin(speakers, list(changed))
    labels[is_changed] = (labels[order][is_changed] + 1) % 5
    columns = {"audio": [few[int(row)]["audio"] for row in order], "label": labels}
    planted = few
    for name, values in columns.items():
        planted = planted.remove_columns(name).add_column(name, list(values), feature=few.features[name])
    planted = planted.select_columns(few.column_names)
    assert (np.array(planted["label"]) != np.array(few["label"])).sum() > 10

    weights, chosen = [], []
    for number, dataset in enumerate((few, planted)):
        run = ser_hf.train(
            dataset, "svm", protocol="synthetic/kfold3", folds=[0], tune=True, refit=refit,
            output_dir=str(tmp_path / str(number)),
        )  # fmt: skip
        model = run.classifier().model
        weights.append(model.state_dict())
        chosen.append((model.config.cost, model.config.gamma))
    assert chosen[0] == chosen[1]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_the_final_network_ends_after_the_mean_of_the_epochs_that_were_kept(few, tmp_path):
    network = dict(model="tiny-hubert", learning_rate=1e-3, num_train_epochs=4, use_cpu=True, report_to="none")
    ser_hf.train(few, protocol="synthetic/kfold3", folds=[-1], output_dir=str(tmp_path / "crossed"), **network)
    final = ser_hf.train(
        few, protocol="synthetic/all", cross_validated=str(tmp_path / "crossed"), output_dir=str(tmp_path / "final"),
        **network,
    )  # fmt: skip
    kept = []
    for fold in range(3):
        records = json.loads((tmp_path / "crossed" / f"fold{fold}" / "history.json").read_text())
        scores = {one["epoch"]: one["eval_uar"] for one in records if "eval_uar" in one}
        kept.append(min(epoch for epoch, score in scores.items() if score == max(scores.values())))
    last = json.loads((final.folder / "history.json").read_text())[-1]
    assert last["epoch"] == max(1, round(sum(kept) / 3))
    assert not any("eval_uar" in one for one in json.loads((final.folder / "history.json").read_text()))


def test_a_final_model_needs_the_figures_of_a_cross_validation(few, tmp_path):
    with pytest.raises(ValueError, match="--cross_validated RUN"):
        ser_hf.train(few, "svm", protocol="synthetic/all", output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="holds no finished run"):
        ser_hf.train(
            few, "svm", protocol="synthetic/all", cross_validated=str(tmp_path), output_dir=str(tmp_path / "final")
        )


def test_a_model_of_few_speakers_is_not_trained_in_all_folds_for_a_push(few, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_hf.training.run_folds.destination_of_run", lambda *_, **__: "user/voice")
    with pytest.raises(ValueError, match=r"--push_to_hub needs one fold, not the folds \[0, 1, 2\]"):
        ser_hf.train(
            few, "tiny-hubert", protocol="synthetic/kfold3", push_to_hub=True, use_cpu=True, report_to="none",
            output_dir=str(tmp_path / "run"),
        )  # fmt: skip
    assert not (tmp_path / "run" / "run.yaml").exists()
