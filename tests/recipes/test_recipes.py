"""Every recipe runs end to end, ends in a folder that works in a stock pipeline, and survives an interruption."""

import json
import runpy
from itertools import product

import numpy as np
import pandas
import pytest
import safetensors.numpy
import soundfile
from answers import by_label
from conftest import ROOT, write_tone
from sklearn.metrics import log_loss
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, pipeline

from ser_hf.audio import read_audio
from ser_hf.corpora import get_corpus
from ser_hf.evaluation.chapters.calibration import expected_calibration_error, fit_temperature, tempered
from ser_hf.evaluation.comparisons.forgetting import ForgettingTable
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.training.adaptation import ComparedArguments
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curriculum import CurriculumArguments, PacingArguments
from ser_hf.training.data_arguments import DataArguments, DomainArguments
from ser_hf.training.distillation import DistillationArguments
from ser_hf.training.fitted.lda import LDAArguments
from ser_hf.training.fitted.svm import SVMArguments
from ser_hf.training.parser import parse
from ser_hf.training.retention import RetentionArguments
from ser_hf.training.search import SearchArguments

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small")]

CONFIGS = sorted((ROOT / "recipes/configs").glob("*.yaml"))
QUIET = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true", "--allow_partial", "true"]
QUICK = [*QUIET, "--max_steps", "2"]


@pytest.fixture(scope="module")
def run_recipe():
    def run(recipe, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [recipe, *map(str, words)])
            return runpy.run_path(str(ROOT / "recipes" / recipe), run_name="__main__")

    return run


@pytest.fixture
def launch(run_recipe):
    return run_recipe


@pytest.fixture(scope="module")
def whisper(small, run_recipe, tmp_path_factory):
    """A finished run of a tiny Whisper on the whole corpus, whose pictures are drawn."""
    run = tmp_path_factory.mktemp("whisper") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", small)
        run_recipe("train_classifier.py", "--model_name_or_path", "tiny-whisper", "--output_dir", run, *QUICK)
    return run


def assert_works_in_a_stock_pipeline(folder):
    """The pipeline's answer for a test utterance is the one that the prediction table holds."""
    table = PredictionTable.read(folder / "predictions.parquet")
    row = table.rows.iloc[0]
    source = get_corpus("synthetic").name
    classify = pipeline("audio-classification", model=str(folder), trust_remote_code=True)
    corpus, name = row["utterance_id"].split("/", 1)
    from ser_hf.corpora import find_root

    assert corpus == source
    waveform = read_audio(find_root(get_corpus(corpus)) / f"{name}.wav")
    answer = {entry["label"]: entry["score"] for entry in classify(waveform, top_k=None)}
    for label, score in answer.items():
        assert score == pytest.approx(row[f"p_{label}"], abs=1e-5)


def assert_is_calibrated_on_validation_speakers(folder):
    """Their table stands beside that of the test speakers, and the folded temperature suits them better than none."""
    table, validation = (run := RunTables.read(folder)).test, run.validation
    assert validation.metadata.part == "validation"
    assert not set(table.rows["speaker"]) & set(validation.rows["speaker"])
    (temperature,) = set(table.rows["temperature"]) | set(validation.rows["temperature"])
    assert json.loads((folder / "config.json").read_text())["calibration_temperature"] == temperature != 1
    calibrated, references = validation.probabilities, validation.references
    trained = tempered(calibrated, 1 / temperature)
    assert (trained.argmax(axis=1) == calibrated.argmax(axis=1)).all()
    assert log_loss(references, calibrated) <= log_loss(references, trained) + 1e-3
    assert temperature == pytest.approx(fit_temperature(trained, references), rel=1e-2)
    if len(references) == 240:  # of fewer it says more of chance
        errors = [expected_calibration_error(scores, references) for scores in (calibrated, trained)]
        assert errors[0] < errors[1] + 0.02


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_names_only_options_corpora_and_protocols_that_exist(config):
    from ser_hf.emotions import get_scheme
    from ser_hf.splits.split import get_protocol

    if "svm" in config.stem or "lda" in config.stem:
        fitted = SVMArguments if "svm" in config.stem else LDAArguments
        data, _ = parse(DataArguments, fitted, argv=[str(config)])
    else:
        own = [DataArguments]
        if "curriculum" in config.stem:
            own = [CurriculumArguments, RetentionArguments, PacingArguments]
        elif "adapt" in config.stem:
            own = [DomainArguments, ComparedArguments]
        elif "leaks" in config.stem:
            own = [runpy.run_path(str(ROOT / "recipes/leaks.py"))["LeakArguments"]]
        elif "search" in config.stem:
            own.append(SearchArguments)
        elif "distill" in config.stem:
            own = [DataArguments, DistillationArguments]
        data, *_ = parse(*own, ModelArguments, SERTrainingArguments, argv=[str(config), "--use_cpu", "true"])
    assert get_scheme(data.scheme)
    assert [get_protocol(name).name.split("/")[0] for name in data.protocols] == [
        get_corpus(c).name for c in data.corpora
    ]


@pytest.mark.parametrize(
    ("model", "trainable"), [("tiny-hubert", "full"), ("tiny-whisper", "full"), ("tiny-whisper", "head")]
)
def test_train_classifier_ends_in_a_working_folder(launch, whisper, model, trainable, tmp_path):
    run = whisper if (model, trainable) == ("tiny-whisper", "full") else tmp_path / "run"
    if run != whisper:
        words = ["--model_name_or_path", model, "--trainable", trainable]
        launch("train_classifier.py", *words, "--output_dir", run, *QUICK)
    assert_works_in_a_stock_pipeline(run)
    report = EvaluationReport.read(run / "report.json")
    assert (report.protocol, report.n, report.synthetic, report.speakers) == (
        "synthetic/si4",
        240 if run == whisper else 60,
        True,
        6,
    )
    card = (run / "README.md").read_text()
    assert f"value: {round(report.uar, 4)}" in card
    assert "Trained and tested on synthetic speech" in card
    assert ("trust_remote_code=True" in card) == (model == "tiny-whisper")
    assert_is_calibrated_on_validation_speakers(run)


@pytest.mark.parametrize("recipe", ["train_classifier.py", "hubert_curriculum.py"])
def test_adapters_are_merged_in_what_a_recipe_leaves(launch, recipe, tmp_path):
    run = tmp_path / "run"
    launch(recipe, "--model_name_or_path", "tiny-hubert", "--lora_rank", "4", "--output_dir", run, *QUICK)
    assert_works_in_a_stock_pipeline(run)
    models = [run, *run.glob("stage*")]
    assert len(models) == (3 if recipe == "hubert_curriculum.py" else 1)
    for folder in models:
        with safetensors.safe_open(folder / "model.safetensors", "numpy") as weights:
            assert not [name for name in weights.keys() if "lora" in name]  # noqa: SIM118 (a file, not a dictionary)
        assert "has_adapters" not in (folder / "config.json").read_text()


def test_the_published_adapters_train_on_an_encoder_like_hubert_base(launch, tmp_path):
    """Group norm, an extractor without a mask, layers that are dropped in training: as it is on the Hub."""
    encoder = HubertModel(HubertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16),
        conv_stride=(20, 16), conv_kernel=(40, 16), num_feat_extract_layers=2, feat_extract_norm="group",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, classifier_proj_size=16,
    ))  # fmt: skip
    encoder.save_pretrained(tmp_path / "encoder")
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(tmp_path / "encoder")
    run = tmp_path / "run"
    launch(
        "train_classifier.py", ROOT / "recipes/configs/hubert_lora.yaml", "--corpora", "synthetic", "--scheme", "five",
        "--protocols", "synthetic/si4", "--model_name_or_path", tmp_path / "encoder", "--output_dir", run, *QUICK,
        "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false",
    )  # fmt: skip
    assert_works_in_a_stock_pipeline(run)
    assert json.loads((run / "config.json").read_text())["architectures"] == ["HubertForSequenceClassification"]
    weights = safetensors.numpy.load_file(run / "model.safetensors")
    moved = {
        name for name, tensor in encoder.state_dict().items() if not np.array_equal(weights[f"hubert.{name}"], tensor)
    }
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    assert moved == {f"encoder.layers.{n}.attention.{name}.weight" for n in range(2) for name in projections}


def test_train_svm_ends_in_a_working_folder_and_recognises_unheard_speakers(launch, tmp_path):
    run = tmp_path / "run"
    launch("train_svm.py", "--refit", "true", "--allow_partial", "--output_dir", run)
    assert_works_in_a_stock_pipeline(run)
    report = EvaluationReport.read(run / "report.json")
    assert (report.protocol, report.n, report.synthetic) == ("synthetic/si4+refit", 60, True)
    assert report.uar > 0.9
    assert RunTables.read(run).validation is None, "who trained says nothing of new speakers"
    allowed = {".json", ".safetensors", ".md", ".png", ".yaml", ".parquet", ".py", ".html", ".csv"}
    assert {file.suffix for file in run.iterdir()} <= allowed, "nothing is pickled"


def test_the_hint_of_a_recipe_trains_its_final_model_and_other_recipes_refuse_to(launch, tmp_path, capsys):
    launch("train_svm.py", "--allow_partial", "--folds", "-1", "--output_dir", tmp_path / "crossed")
    final = capsys.readouterr().out.partition("run the same again with ")[2].partition(" and another")[0].split()
    launch("train_svm.py", "--allow_partial", *final, "--output_dir", tmp_path / "final")
    assert RunTables.read(tmp_path / "final").test.metadata.cross_validated
    with pytest.raises(SystemExit) as ended:
        launch(
            "distill.py",
            "--teacher",
            tmp_path / "crossed",
            "--allow_partial",
            *final,
            "--output_dir",
            tmp_path / "taught",
        )
    assert ended.value.code == 2
    assert "this recipe trains no final model: leave out --cross_validated" in capsys.readouterr().err


def test_train_svm_names_the_fold_and_corpus_whose_training_part_lacks_an_emotion(launch, miniature, tmp_path, capsys):
    """Nearly every speaker of URDU has one emotion only."""
    root, run = miniature("urdu"), tmp_path / "run"
    words = ["--corpora", "urdu", "--roots", f"urdu={root}", "--scheme", "four", "--protocols", "urdu/kfold3"]
    with pytest.raises(SystemExit) as ended:
        launch("train_svm.py", *words, "--folds", "1", "--allow_partial", "--output_dir", run)
    assert ended.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("train_svm.py: fold 1 of urdu/kfold3: class ")
    assert "needs training utterances of two speakers" in last


def test_train_svm_predicts_for_validation_speakers_who_did_not_train(launch, tmp_path):
    run = tmp_path / "run"
    launch("train_svm.py", "--refit", "false", "--allow_partial", "--output_dir", run)
    table, validation = (tables := RunTables.read(run)).test, tables.validation
    assert not set(table.rows["speaker"]) & set(validation.rows["speaker"])
    assert len(validation.rows) == 60


def test_folds_are_pooled_and_finished_ones_are_kept(launch, tmp_path, capsys):
    run = tmp_path / "run"
    words = [
        "--model_name_or_path",
        "tiny-whisper",
        "--trainable",
        "head",
        "--folds",
        "0",
        "2",
        "--output_dir",
        run,
        *QUICK,
    ]
    launch("train_classifier.py", *words)
    report = EvaluationReport.read(run / "report.json")
    assert [row["fold"] for row in report.per_fold] == [0, 2]
    assert report.n == 120
    assert "UAR by fold" in capsys.readouterr().out
    cost = json.loads((run / "cost.json").read_text())
    assert cost["numbers"] == json.loads((run / "fold2/cost.json").read_text())["numbers"] > 0

    validation = RunTables.read(run).validation
    assert sorted(validation.rows["fold"].unique()) == [0, 2]
    assert validation.rows["temperature"].nunique() == 2

    # As after a kill: one fold is finished, the other is not.
    (run / "fold2/predictions.parquet").unlink()
    kept = (run / "fold0/model.safetensors").stat().st_mtime_ns
    launch("train_classifier.py", *words)
    assert (run / "fold0/model.safetensors").stat().st_mtime_ns == kept
    assert EvaluationReport.read(run / "report.json") == report, "the same seed gives the same figures"
    pandas.testing.assert_frame_equal(RunTables.read(run).validation.rows, validation.rows)

    # A fold from before there were validation tables is kept all the same.
    (run / "fold0/validation.parquet").unlink()
    (run / "validation.parquet").unlink()
    launch("train_classifier.py", *words)
    assert RunTables.read(run).validation is None
    assert EvaluationReport.read(run / "report.json").confusion == report.confusion


def test_a_fold_is_finished_only_when_everything_of_it_is_written(launch, tmp_path, monkeypatch):
    """Interrupted while the report is written, and started again."""
    run, words = tmp_path / "run", ["--model_name_or_path", "tiny-hubert", "--output_dir", tmp_path / "run", *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationReport, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit) as ended:
            launch("train_classifier.py", *words)
    assert ended.value.code == 130
    assert not (run / "predictions.parquet").exists()
    launch("train_classifier.py", *words)
    for name in ("predictions.parquet", "report.json", "README.md", "ledger.json", "training.png"):
        assert (run / name).exists(), name


def test_the_curriculum_reports_every_corpus_after_every_stage_and_resumes(launch, tmp_path):
    run = tmp_path / "run"
    words = ["--output_dir", run, *QUICK]
    launch("hubert_curriculum.py", *words)
    assert_works_in_a_stock_pipeline(run)
    assert_is_calibrated_on_validation_speakers(run)
    forgetting = json.loads((run / "forgetting.json").read_text())
    assert set(forgetting["corpora"]) == {"synthetic", "synthetic_spontaneous"}
    for corpus in forgetting["corpora"].values():
        assert [row["stage"] for row in corpus["after"]] == ["acted", "spontaneous"]
        assert {row["n"] for row in corpus["after"]} == {60}

    # As after a kill in the last stage.
    (run / "predictions.parquet").unlink()
    (run / "stage2-spontaneous/predictions.parquet").unlink()
    first = (run / "stage1-acted/model.safetensors").stat().st_mtime_ns
    launch("hubert_curriculum.py", *words)
    assert (run / "stage1-acted/model.safetensors").stat().st_mtime_ns == first
    assert (run / "stage2-spontaneous/predictions.parquet").exists()


@pytest.mark.slow
def test_a_held_and_paced_curriculum_pools_its_folds_and_goes_on_as_if_unbroken(launch, tmp_path):
    run = tmp_path / "run"
    config = ROOT / "recipes/configs/synthetic_curriculum_held.yaml"
    words = [
        config,
        "--folds",
        "0",
        "2",
        "--num_train_epochs",
        "2",
        "--pacing_epochs",
        "1",
        "--output_dir",
        run,
        *QUIET,
    ]
    launch("hubert_curriculum.py", *words)
    forgetting = json.loads((run / "forgetting.json").read_text())
    assert forgetting["folds"] == [0, 2]
    assert {row["n"] for corpus in forgetting["corpora"].values() for row in corpus["after"]} == {120}
    assert ForgettingTable.read(run).to_dict() == forgetting
    logged = [set(row) for row in json.loads((run / "fold0/stage2-spontaneous/history.json").read_text())]
    assert any({"l2_sp", "distillation"} <= names for names in logged)

    # As after a kill in the last stage of the last fold: what it is held near was saved before.
    weights = safetensors.numpy.load_file(run / "fold2/stage2-spontaneous/model.safetensors")
    finished = (run / "fold0/model.safetensors").stat().st_mtime_ns
    for name in ("predictions.parquet", "stage2-spontaneous/predictions.parquet"):
        (run / "fold2" / name).unlink()
    newest = max((run / "fold2/stage2-spontaneous").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    (newest / "trainer_state.json").unlink()
    launch("hubert_curriculum.py", *words)
    assert (run / "fold0/model.safetensors").stat().st_mtime_ns == finished
    again = safetensors.numpy.load_file(run / "fold2/stage2-spontaneous/model.safetensors")
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    assert json.loads((run / "forgetting.json").read_text()) == forgetting


@pytest.mark.slow
def test_a_pacing_teacher_that_has_heard_the_test_speakers_is_refused(launch, tmp_path, capsys):
    teacher, run = tmp_path / "teacher", tmp_path / "run"
    small = ["--model_name_or_path", "tiny-whisper", "--trainable", "head", *QUICK]
    launch("train_classifier.py", *small, "--output_dir", teacher)
    one = [
        "--stages",
        '{"name": "only", "corpora": ["synthetic"]}',
        "--corpora",
        "synthetic",
        "--protocols",
        "synthetic/si4",
    ]
    paced = [*small, *one, "--pacing", "teacher", "--pacing_teacher", teacher]
    with pytest.raises(SystemExit) as ended:
        launch("hubert_curriculum.py", *paced, "--folds", "1", "--output_dir", tmp_path / "refused")
    assert ended.value.code == 1
    assert "would leak data that the student is evaluated on" in capsys.readouterr().err
    launch("hubert_curriculum.py", *paced, "--output_dir", run)
    assert json.loads((run / "forgetting.json").read_text())["backward_transfer"] is None, "one stage forgets nothing"


@pytest.mark.parametrize("method", ["lmmd", "none"])
def test_an_adaptation_is_chosen_on_the_source_and_judged_on_unheard_speakers_of_the_target(launch, method, tmp_path):
    run = tmp_path / "run"
    words = ["--adapt_from", "synthetic_spontaneous", "--adapt_to", "synthetic", "--method", method]
    words += ["--model_name_or_path", "tiny-whisper", "--trainable", "head", "--output_dir", run, *QUICK]
    launch("adapt.py", *words)
    assert_works_in_a_stock_pipeline(run)
    assert_is_calibrated_on_validation_speakers(run)
    on_target, on_source = RunTables.read(run), RunTables.read(run / "source")
    assert set(on_target.test.rows["corpus"]) == {"synthetic"}
    for rows in (on_source.test.rows, on_source.validation.rows, on_target.validation.rows):
        assert set(rows["corpus"]) == {"synthetic_spontaneous"}
    assert EvaluationReport.read(run / "source/report.json").n == len(on_source.test.rows) == 60

    (training,) = json.loads((run / "ledger.json").read_text())["trainings"]
    heard = {part: {name.split("-")[0] for name in names} for part, names in training["speakers"].items()}
    adapted = {"synthetic"} if method == "lmmd" else set()
    assert heard == {"train": {"synthetic_spontaneous"} | adapted, "validation": {"synthetic_spontaneous"}}
    assert not set(training["speakers"]["train"]) & set(on_target.test.rows["speaker"])

    finished = (run / "model.safetensors").stat().st_mtime_ns
    launch("adapt.py", *words)
    assert (run / "model.safetensors").stat().st_mtime_ns == finished


def test_a_model_of_own_statistics_hears_recordings_of_the_target_as_they_are(launch, tmp_path, capsys):
    """Domains are standardised apart while it learns; the one that is kept answers a pipeline with the same scores."""
    run = tmp_path / "run"
    words = ["--adapt_from", "synthetic_spontaneous", "--adapt_to", "synthetic", "--method", "none"]
    words += ["--model_name_or_path", "tiny-whisper", "--trainable", "head", "--own_statistics", "true"]
    launch("adapt.py", *words, "--output_dir", run, *QUICK)
    assert_works_in_a_stock_pipeline(run)
    (training,) = json.loads((run / "ledger.json").read_text())["trainings"]
    assert any(name.startswith("synthetic-") for name in training["speakers"]["train"]), (
        "its recordings gave statistics"
    )
    for option, value in (("--trainable", "full"), ("--model_name_or_path", run)):
        with pytest.raises(SystemExit):
            launch("adapt.py", *words, option, value, "--output_dir", tmp_path / f"refused{option}", *QUICK)
        assert "own_statistics" in capsys.readouterr().err


def test_leaks_stand_side_by_side_and_say_what_was_heard(launch, tmp_path):
    run = tmp_path / "run"
    words = ["--folds", "0", "--output_dir", run, "--copies", "2", *QUICK, "--eval_strategy", "no"]
    words += ["--save_strategy", "no", "--load_best_model_at_end", "false"]
    launch("leaks.py", *words)
    rows = [line.split("|") for line in (run / "leaks.md").read_text().splitlines()[2:]]
    shares = {row[1].split(":")[0].strip(): (row[3].strip(), row[4].strip()) for row in rows}
    assert shares["none"] == shares["selected"] == ("0%", "0%")
    assert shares["random"] == ("100%", "0%")
    assert shares["oversampled"][0] == "100%"
    assert 40 < float(shares["oversampled"][1].rstrip("%")) < 80, "of two copies one trains in three cases of five"
    reports = {leak: EvaluationReport.read(run / leak / "report.json") for leak in shares}
    assert {leak for leak, report in reports.items() if report.relation == "held_out"} == {"none"}
    assert "trained on test speakers, or chosen on them" in (run / "selected/report.md").read_text()
    assert reports["oversampled"].n == 96
    assert all(f"{report.n}" in row[2] for row, report in zip(rows, reports.values(), strict=True))
    written = (run / "leaks.md").stat().st_mtime_ns
    launch("leaks.py", *words)
    assert (run / "leaks.md").stat().st_mtime_ns > written
    assert [row[1:6] for row in rows] == [
        line.split("|")[1:6] for line in (run / "leaks.md").read_text().splitlines()[2:]
    ]


def test_a_fold_that_no_random_division_has_is_refused(launch, tmp_path, capsys):
    """A protocol may have more folds of speakers than the five at random."""
    with pytest.raises(SystemExit):
        launch("leaks.py", "--protocols", "synthetic/kfold8", "--folds", "6", "--output_dir", tmp_path / "run", *QUICK)
    assert "--folds needs one of 0 to 4 for random, not only [6]" in capsys.readouterr().err


def test_methods_are_compared_under_a_map_from_one_label_scheme_to_another(tmp_path, capsys):
    """A head of four emotions, a target of five, two methods on all folds of the target; then the same once more."""
    run, main = tmp_path / "run", runpy.run_path(str(ROOT / "recipes/adapt.py"))["main"]
    words = [
        "--scheme", "four", "--target_scheme", "five", "--evaluation_map", "neutral=fear", "--method", "none", "mmd=2",
        "--protocols", "synthetic/kfold3", "synthetic_spontaneous/si4", "--folds", "-1", "--keep_models", "false",
        "--output_dir", str(run), *QUICK,
    ]  # fmt: skip
    main(words)
    tables = {method: RunTables.read(run / method) for method in ("none", "mmd")}
    for method, tested in tables.items():
        assert tested.test.metadata.classes == ("anger", "fear", "happiness", "neutral", "sadness")
        assert tested.test.metadata.evaluation_map == {"neutral": ("fear",)}
        assert tested.test.metadata.model == f"tiny-whisper, {method}"
        assert (len(tested.test.rows), set(tested.test.rows["fold"])) == (240, {0, 1, 2, 3})
        assert "fear" not in set(tested.test.rows["prediction"]), "the head is never rebuilt"
        mapped = tested.test.rows.query("label == 'fear' and prediction == 'neutral'").index
        assert (tested.test.predictions[mapped] == tested.test.references[mapped]).all()
        on_source = RunTables.read(run / method / "source").test
        assert len(on_source.rows) == 192, "whose folds come round: each utterance is judged once"
        assert on_source.metadata.classes == ("anger", "happiness", "neutral", "sadness")
        heard = {"synthetic"} | ({"synthetic_spontaneous"} if method == "mmd" else set())
        for fold in range(4):
            (training,) = json.loads((run / method / f"fold{fold}/ledger.json").read_text())["trainings"]
            assert set(training["corpora"]) == heard
            table = RunTables.read(run / method / f"fold{fold}").test
            assert not set(training["speakers"]["train"]) & set(table.rows["speaker"])
        assert not list((run / method).rglob("*.safetensors"))
    facts, told = (json.loads((run / f"{name}.json").read_text()) for name in ("comparison", "adaptation"))
    (pair,) = facts["pairs"]
    assert (pair["first"], pair["second"], facts["n"], facts["speakers"]) == ("none", "mmd", 240, 24)
    assert told["none"]["alignment"] is None
    assert told["mmd"]["folds"] == 4
    assert all(0 <= told[method]["domain_distance"] <= 2 for method in tables)
    printed = capsys.readouterr().out
    assert (run / "comparison.md").read_text().strip() in printed
    assert (run / "adaptation.md").read_text().strip() in printed
    assert (run / "embeddings.png").exists()

    finished = (run / "mmd/fold3/diagnosis.json").stat().st_mtime_ns
    main(words)
    assert (run / "mmd/fold3/diagnosis.json").stat().st_mtime_ns == finished
    assert json.loads((run / "adaptation.json").read_text()) == told


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--target_scheme", "five"], "the model has no label for fear"),
     (["--target_scheme", "five", "--evaluation_map", "neutral=calm"], "'calm' is not a class of the scheme"),
     (["--folds", "4"], "si4 has no fold 4, only folds 0 to 3"),
     (["--method", "none", "mmd", "--push_to_hub"], "push_to_hub needs one --method")],
)  # fmt: skip
def test_what_could_not_be_judged_is_refused_before_any_training(words, said, tmp_path):
    main = runpy.run_path(str(ROOT / "recipes/adapt.py"))["main"]
    with pytest.raises(ValueError, match=said):
        main(["--scheme", "four", *words, "--output_dir", str(tmp_path / "run"), *QUICK])
    assert not (tmp_path / "run").exists()


def test_a_corpus_without_a_side_is_refused_before_anything_is_read(launch, capsys):
    with pytest.raises(SystemExit) as ended:
        launch("adapt.py", "--adapt_to", "synthetic")
    assert ended.value.code == 2
    assert "--adapt_from and --adapt_to must name each of the corpora" in capsys.readouterr().err


@pytest.fixture
def iemocap_curriculum(tmp_path):
    """Miniatures of RAVDESS, CREMA-D and IEMOCAP that reach into train, validation and test part of a fold."""
    roots = {name: tmp_path / name for name in ("ravdess", "crema_d", "iemocap")}
    pitch = iter(range(100, 4000))
    for actor, emotion in product(range(1, 25, 2), ("01", "03", "04", "05")):
        write_tone(roots["ravdess"] / f"Actor_{actor:02d}/03-01-{emotion}-01-01-01-{actor:02d}.wav", hertz=next(pitch))
    for actor, emotion in product(range(1001, 1092, 9), ("ANG", "HAP", "NEU", "SAD")):
        write_tone(roots["crema_d"] / f"AudioWAV/{actor}_DFA_{emotion}_XX.wav", hertz=next(pitch))
    people = "\n".join(f'{actor},30,"Male","",""' for actor in range(1001, 1092))
    (roots["crema_d"] / "VideoDemographics.csv").write_text(f"ActorID,Age,Sex,Race,Ethnicity\n{people}\n")
    for session in range(1, 6):
        lines = []
        for number, (sex, emotion) in enumerate(product("FM", ("ang", "exc", "neu", "sad"))):
            dialog = f"Ses0{session}F_impro01"
            name = f"{dialog}_{sex}{number:03d}"
            write_tone(
                roots["iemocap"] / f"Session{session}/sentences/wav/{dialog}/{name}.wav", hertz=next(pitch), seconds=0.5
            )
            lines.append(f"[{number}.0 - {number}.9]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]")
        labels = roots["iemocap"] / f"Session{session}/dialog/EmoEvaluation/{dialog}.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text("\n".join(lines))
    return [f"{name}={root}" for name, root in roots.items()]


def test_the_published_curriculum_runs_on_a_miniature_of_its_corpora(launch, iemocap_curriculum, tmp_path):
    launch(
        "hubert_curriculum.py", ROOT / "recipes/configs/curriculum_iemocap.yaml", "--roots", *iemocap_curriculum,
        "--model_name_or_path", "tiny-hubert", "--allow_partial", "--output_dir", tmp_path / "run", *QUICK,
    )  # fmt: skip
    forgetting = json.loads((tmp_path / "run/forgetting.json").read_text())
    assert [forgetting["corpora"][name]["learnt_in"] for name in ("ravdess", "crema_d", "iemocap")] == [
        "acted",
        "acted",
        "dialogue",
    ]
    report = EvaluationReport.read(tmp_path / "run/report.json")
    assert report.protocol == "ravdess/si6 + crema_d/si5 + iemocap/sessions5"
    assert report.dropped["ravdess"] == {}


def test_a_mistake_in_a_curriculum_is_one_line(launch, capsys):
    with pytest.raises(SystemExit) as ended:
        launch("hubert_curriculum.py", "--stages", '{"name": "only", "corpora": ["synthetic"]}')
    assert ended.value.code == 2
    assert "--stages must name each of the corpora" in capsys.readouterr().err


@pytest.mark.real
def test_a_table_of_real_recordings_goes_through_train_report_and_predict(launch, shared, tmp_path):
    from ser_hf.cli.predict import predict_files

    files = [
        shared / f"corpora/ravdess/Actor_{actor:02d}/03-01-{emotion}-01-{statement}-01-{actor:02d}.flac"
        for actor in range(1, 11) for emotion in ("03", "04", "05") for statement in ("01", "02")
    ]  # fmt: skip
    words = {"03": "happy", "04": "sad", "05": "angry"}
    rows = [{"path": file, "emotion": words[file.stem[6:8]], "speaker": file.stem[-2:]} for file in files]
    (tmp_path / "mine").mkdir()
    pandas.DataFrame(rows).to_csv(tmp_path / "mine/table.csv", index=False)
    run = tmp_path / "run"
    launch(
        "train_classifier.py", "--corpora", "folder", "--roots", f"folder={tmp_path / 'mine'}", "--scheme", "four",
        "--protocols", "folder/kfold5", "--model_name_or_path", shared / "models/whisper-base-encoder", "--trainable",
        "head", "--output_dir", run, "--num_train_epochs", "20", "--learning_rate", "5e-4", "--disable_tqdm", "true",
    )  # fmt: skip
    report = EvaluationReport.read(run / "report.json")
    assert report.n == 12
    assert report.speakers == 2
    assert report.uar > 0.5, "anger, happiness and sadness of unseen actors; chance is a third"
    (row,) = predict_files(str(run), [files[0]])
    assert row["emotion"] in ("anger", "happiness", "neutral", "sadness")


@pytest.mark.draws
def test_the_picture_and_the_table_hold_the_same_numbers(whisper, tmp_path):
    """A report is a function of its tables: from the files alone it comes out as it was written."""
    again = RunTables.read(whisper).report()
    assert again == EvaluationReport.read(whisper / "report.json")
    again.write(tmp_path)
    assert (tmp_path / "confusion.png").read_bytes() == (whisper / "confusion.png").read_bytes()
    assert (whisper / "confusion.png").stat().st_size > 1000, "it is drawn"


def test_silence_and_a_single_click_are_classified_not_crashed_on(whisper, tmp_path):
    from ser_hf import Classifier

    click = np.zeros(8000)
    click[4000] = 0.9
    for name, samples in (("silence.wav", np.zeros(8000)), ("click.wav", click), ("short.wav", click[3900:4100])):
        soundfile.write(tmp_path / name, samples, 16_000)
        scores = by_label(Classifier.from_pretrained(str(whisper))(str(tmp_path / name)))
        assert sum(scores.values()) == pytest.approx(1)


def test_the_augmented_example_ends_in_a_working_folder_and_tests_on_what_was_recorded(launch, tmp_path):
    run, config = tmp_path / "run", ROOT / "recipes/configs/synthetic_augmented.yaml"
    launch("train_classifier.py", config, "--output_dir", run, *QUICK)
    assert_works_in_a_stock_pipeline(run)
    assert EvaluationReport.read(run / "report.json").n == 60
    assert "specaugment=2x8x20" in (run / "run.yaml").read_text()
