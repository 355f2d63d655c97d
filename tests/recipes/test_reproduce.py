"""Published experiments: every file is complete, every command can be typed, every row comes from a report."""

import importlib.util
import json
import re
import shlex
import sys
from dataclasses import replace

import pandas
import pytest
import soundfile
import typer
import yaml
from conftest import ROOT, write_tone

from ser_hf import load_corpus
from ser_hf.cli.main import app
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.report import EvaluationReport

pytestmark = pytest.mark.slow

RECIPES, EXPERIMENTS = ROOT / "recipes", ROOT / "recipes" / "experiments"
IDS = [*(f"A{n}" for n in range(1, 11)), *(f"B{n}" for n in range(1, 5)), *(f"C{n}" for n in range(1, 6)),
       *(f"D{n}" for n in range(1, 11)), *(f"E{n}" for n in range(1, 4))]  # fmt: skip


def module(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    loaded = sys.modules[path.stem] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def reproduce():
    return module(RECIPES / "reproduce.py")


@pytest.fixture
def write(monkeypatch, tmp_path):
    """The script that writes the tables, with its reports in a folder of this test."""
    script = module(ROOT / "docs" / "write_reproductions.py")
    monkeypatch.setattr(script, "DOCS", tmp_path)
    monkeypatch.setattr(script, "TAKEN", tmp_path / "reproductions")
    return script


def each_run():
    for file in sorted(EXPERIMENTS.glob("[A-Z]*.yaml")):
        for name, facts in yaml.safe_load(file.read_text(encoding="utf-8"))["runs"].items():
            commands = facts["command"] if isinstance(facts["command"], list) else [facts["command"]]
            for number, command in enumerate(commands):
                yield pytest.param(name, command, id=f"{name}-{number}")


COMMANDS = list(each_run())


class ParsedError(Exception):
    pass


def test_every_published_experiment_has_its_file(reproduce):
    assert set(IDS) <= set(reproduce.EXPERIMENTS)
    assert [name for name in reproduce.EXPERIMENTS if name in IDS] == sorted(
        IDS, key=lambda name: (name[0], int(name[1:]))
    )


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_command_is_understood_by_what_it_starts(name, command, reproduce, monkeypatch, tmp_path):
    arguments = reproduce.parsed(["--runs", str(tmp_path)])
    words = reproduce.words_of(command, name, arguments)
    assert "{" not in " ".join(words).replace("{}", "")
    monkeypatch.chdir(ROOT)
    write_tone(tmp_path / "miniatures" / "noise" / "babble0.wav")  # folders of sounds are looked into at once
    if words[1] == "-m":
        verbs = typer.main.get_command(app)
        _, verb, rest = verbs.resolve_command(typer.Context(verbs), words[3:])
        assert verb.make_context(verb.name, rest).params
        return
    recipe = module(RECIPES / shlex.split(command)[0])

    def stop(*classes, **options):
        from ser_hf.training.parser import parse

        parse(*classes, **options)
        raise ParsedError

    if hasattr(recipe, "parse_some"):  # it hands the rest to another recipe
        other = words.pop(2) if words[2].endswith(".py") else "recipes/train_classifier.py"
        recipe, words = module(ROOT / other), [*words[:2], *_without_seeds(words[2:])]
    monkeypatch.setattr(recipe, "parse", stop)
    with pytest.raises(ParsedError):
        recipe.main(words[2:])


def _without_seeds(words):
    first = words.index("--seeds")
    last = next((n for n in range(first + 1, len(words)) if words[n].startswith("--")), len(words))
    return words[:first] + words[last:]


def test_a_run_is_recorded_once_and_a_failed_one_goes_on(reproduce, tmp_path, monkeypatch, capsys):
    tries = []

    class Ended:
        returncode = 1

    def start(words, *, stdout, **_):
        tries.append(words)
        stdout.write("loading\nthere is no model here\n")
        return Ended

    monkeypatch.setattr(reproduce.subprocess, "run", start)
    arguments = reproduce.parsed(["--runs", str(tmp_path)])
    facts = {"row": "a row", "command": "train_classifier.py some.yaml --model_name_or_path {hubert}"}
    assert not reproduce.run("X1", facts, arguments)
    assert "X1: exit code 1: there is no model here (see " in capsys.readouterr().err
    Ended.returncode = 0
    assert reproduce.run("X1", facts, arguments)
    assert reproduce.run("X1", facts, arguments)
    assert len(tries) == 2, "what is finished is not started again"
    record = json.loads((tmp_path / "X1" / "reproduction.json").read_text())
    assert record["models"] == {"hubert": "facebook/hubert-base-ls960"}
    other = reproduce.parsed(["--runs", str(tmp_path), "--models", "hubert=small"])
    assert not reproduce.run("X1", facts, other), "nor taken for a run of another model"
    assert "holds a run with other models: remove it" in capsys.readouterr().err
    refuses = {**facts, "fails": "no model"}
    Ended.returncode = -9
    assert not reproduce.run("X2", refuses, arguments), "to be killed is no refusal"
    Ended.returncode = 1
    assert not reproduce.run("X2", {**refuses, "fails": "not finite"}, arguments), (
        "nor is another one that which is wanted"
    )
    assert len(tries) == 4
    assert reproduce.run("X2", refuses, arguments)
    assert json.loads((tmp_path / "X2" / "reproduction.json").read_text())["refusal"] == "there is no model here"
    assert tries[0][-4:] == ["--output_dir", str(tmp_path / "X1"), "--disable_tqdm", "true"]


def test_a_model_lies_where_the_command_was_typed(reproduce, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    models = reproduce.parsed(["--models", "hubert=mine", "resnet18=resnet18"]).models
    assert (models["hubert"], models["resnet18"]) == (str(tmp_path / "mine"), "resnet18")


def test_the_seconds_of_an_interrupted_try_count(reproduce, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce.subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.run("X1", {"row": "a", "command": "train_classifier.py"}, reproduce.parsed(["--runs", str(tmp_path)]))
    assert json.loads((tmp_path / "X1" / "seconds.json").read_text()) >= -1e-9  # a difference of sums


def test_what_a_run_reads_is_run_before_it(reproduce):
    everything = {name: run for one in reproduce.EXPERIMENTS for name, run in reproduce.read(one)["runs"].items()}
    for names in ([*everything], ["E2"], ["A3_noise_on_both", "A2"]):
        ordered = reproduce.in_order(names, everything)
        assert set(names) <= set(ordered)
        for place, name in enumerate(ordered):
            assert set(reproduce.needed_by(everything[name])) <= set(ordered[:place])
    assert reproduce.in_order(["A3"], everything) == ["A5", "A3"]


def test_names_that_there_are_not_are_told(reproduce, capsys):
    for words, told in (
        (["A99"], "no experiment A99"),
        (["A1", "--models", "gpt=x"], "--models needs the form NAME=MODEL"),
    ):
        with pytest.raises(SystemExit):
            reproduce.parsed(words)
        assert told in capsys.readouterr().err


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    made = module(EXPERIMENTS / "miniatures.py")
    # As sound, silence would do: what is tested is that readers find every file and all parts of a fold.
    tone = made.synthesise("neutral", 0, 0, 0)
    made.synthesise = lambda emotion, speaker, statement, take, variant="acted": tone * (0.5 + 0.01 * statement)
    for name, fill in (("crema-d", made.crema_d), ("iemocap", made.iemocap), ("savee", made.savee)):
        fill(folder / name)
    return folder


@pytest.mark.parametrize(
    ("corpus", "folder", "speakers"), [("crema_d", "crema-d", 20), ("iemocap", "iemocap", 10), ("savee", "savee", 4)]
)
def test_miniatures_are_read_like_their_corpora(corpus, folder, speakers, miniatures):
    source = {"label_source": "intended"} if corpus == "crema_d" else {}
    rows = load_corpus(corpus, miniatures / folder, allow_partial=True, **source)
    assert len(set(rows["speaker"])) == speakers
    assert set(rows["gender"]) == ({"male"} if corpus == "savee" else {"female", "male"})
    assert len(rows) == len(list((miniatures / folder).rglob("*.wav")))


def test_raters_of_the_miniatures_hear_mixed_emotions_and_dimensions(miniatures):
    heard = load_corpus("crema_d", miniatures / "crema-d", label_source="voice", allow_partial=True)
    votes = [json.loads(text) for text in heard["votes"]]
    assert {len(one) for one in votes} == {2}
    assert {sum(one.values()) for one in votes} == {10}
    for emotion, one in zip(heard["emotion"], votes, strict=True):
        assert one[emotion] > 5 if emotion != "other" else set(one.values()) == {5}
    rated = load_corpus("iemocap", miniatures / "iemocap", allow_partial=True)
    of = {name: [row["arousal"] for row in rated if row["emotion"] == name] for name in ("anger", "sadness")}
    assert min(of["anger"]) > sum(of["sadness"]) / len(of["sadness"])
    assert len(set(of["anger"])) > 1


def test_the_babble_is_as_long_as_it_says(tmp_path):
    module(EXPERIMENTS / "miniatures.py").babble(tmp_path, voices=2, seconds=2)
    assert {soundfile.info(file).duration for file in tmp_path.glob("*.wav")} == {2.0}


# --- the tables ---


def test_a_folder_of_runs_that_is_not_there_is_told(write, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["write_reproductions.py", "nowhere"])
    with pytest.raises(SystemExit, match="there is no folder nowhere; wanted the --runs"):
        write.main()


def test_what_was_taken_of_an_earlier_run_goes_when_a_new_one_is_taken(write, monkeypatch, tmp_path):
    kept = tmp_path / "reproductions" / "X1"
    kept.mkdir(parents=True)
    for name in ("difference.json", "corpora.json", "diagnosis.json"):
        (kept / name).write_text("{}")
    facts = {"what": "-", "printed": "-", "their_test": "-", "runs": {"X1": {"row": "one", "against": "X0"}}}
    monkeypatch.setattr(write, "experiment", lambda name: facts)
    (run := tmp_path / "runs" / "X1").mkdir(parents=True)
    (row,) = write.rows_of("X1")
    assert not write.is_finished(row, tmp_path / "runs")
    (run / "reproduction.json").write_text(json.dumps({"commands": [], "models": {"whisper": "/home/who/whisper"}}))
    assert write.is_finished(row, tmp_path / "runs")
    write.forget(row)
    write.take(row, tmp_path / "runs")
    assert [file.name for file in kept.iterdir()] == ["reproduction.json"], "the run of X0 is not here to compare with"
    assert json.loads((kept / "reproduction.json").read_text())["models"] == {"whisper": "./whisper"}


def test_the_rows_of_the_page_are_those_of_the_reports(write, monkeypatch, tmp_path):
    report = EvaluationReport.read(ROOT / "docs/results/ravdess_whisper/report.json")
    facts = {
        "what": "A specialist", "printed": "99.9", "their_test": "speakers shared", "note": "Mind the gap.",
        "runs": {
            "X1": {"row": "as it is", "command": "train_classifier.py {hubert}"},
            "X1_more": {"row": "with more", "against": "X1", "command": "train_classifier.py"},
            "X1_none": {"row": "never run", "command": "train_classifier.py"},
        },
    }  # fmt: skip
    monkeypatch.setattr(write, "experiment", lambda name: facts)
    for run in ("X1", "X1_more"):
        (tmp_path / "reproductions" / run).mkdir(parents=True)
        (tmp_path / "reproductions" / run / "report.json").write_text(json.dumps(report.to_dict()))
        record = {
            "commands": ["train_classifier.py {hubert}"],
            "models": {"hubert": "./whisper-base-encoder" if run == "X1" else "./small"},
            "cpu_seconds": 1800,
        }
        (tmp_path / "reproductions" / run / "reproduction.json").write_text(json.dumps(record))
    pair = {"against": "X1", "difference": 0.0123, "interval": [-0.1, 0.2], "p": 0.5}
    (tmp_path / "reproductions/X1_more/difference.json").write_text(json.dumps(pair))
    header, _, first, second, _, note, missing = write.table(["X1"]).split("\n")
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert len(cells) == len(header.strip("|").split("|"))
    assert cells[0] == "X1"
    assert cells[1] == "**A specialist**<br>as it is"
    assert cells[2] == "whisper-base-encoder in place of facebook/hubert-base-ls960"
    assert cells[4:6] == [str(report.n), report.rate("uar")]
    assert cells[-2:] == ["99.9", "speakers shared"]
    assert "+0.012 [-0.100, +0.200] against X1" in second
    assert "| whisper-base-encoder, small in place of facebook/hubert-base-ls960 |" in second, (
        "a part of what was judged"
    )
    assert note == "* X1: Mind the gap."
    assert missing == "* Not run here yet: X1_none."
    assert write.commands(["X1"]).startswith("2 runs took 1.0 hours")


def test_what_was_refused_is_a_note_and_no_row_without_a_report(write, monkeypatch, tmp_path):
    facts = {
        "what": "A net",
        "printed": "-",
        "their_test": "-",
        "runs": {"X9": {"row": "too fast", "fails": "not finite"}},
    }
    monkeypatch.setattr(write, "experiment", lambda name: facts)
    (tmp_path / "reproductions" / "X9").mkdir(parents=True)
    record = {"commands": ["x"], "models": {}, "cpu_seconds": 1, "refusal": "step 5: not finite. Its utterances: a, b"}
    (tmp_path / "reproductions" / "X9" / "reproduction.json").write_text(json.dumps(record))
    assert write.table(["X9"]).split("\n")[2:] == ["", "* X9, too fast: `step 5: not finite.`"]


def test_rows_name_their_miniatures_and_those_of_what_they_read(write):
    assert write.stand_ins("A1") == {}
    assert write.stand_ins("A5") == write.stand_ins("A3") == {"CREMA-D": "A5"}
    assert write.stand_ins("B3") == {"CREMA-D": "B3"}
    assert set(write.stand_ins("A10")) == {"CREMA-D", "IEMOCAP"}


def test_a_generalist_is_compared_with_a_specialist_on_what_both_have(write):
    def table(corpora, protocol):
        rows = pandas.DataFrame({"corpus": corpora, "speaker": [f"{one}{n % 2}" for n, one in enumerate(corpora)]})
        rows["utterance_id"] = [f"{one}/{n}" for n, one in enumerate(corpora)]
        rows["label"], rows["p_a"], rows["p_b"] = "a", 0.9, 0.1
        table = PredictionTable.of_others(rows)
        return PredictionTable(table.rows.assign(corpus=corpora), replace(table.metadata, protocol=protocol))

    both = table(["x"] * 4 + ["y"] * 3, "x/si2 + y/loso")
    alone = table(["x"] * 4, "x/si2+selected")
    cut = write._on_what_both_have({"it": both, "other": alone})
    assert {side: (len(one.rows), one.metadata.protocol) for side, one in cut.items()} == {
        "it": (4, "x/si2"), "other": (4, "x/si2"),
    }  # fmt: skip
    assert {one: facts["n"] for one, facts in write._by_corpus(both).items()} == {"x": 4, "y": 3}


def test_the_published_page_is_complete_and_every_row_has_a_report_with_its_figures():
    script = module(ROOT / "docs" / "write_reproductions.py")
    page = (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [A-E]\d+ \|", line)]
    assert {line.split()[1] for line in rows} == set(IDS)
    for line in rows:
        report = EvaluationReport.read(ROOT / "docs" / re.search(r"\((re[^)]*/report\.json)\)", line)[1])
        assert report.n > 0
        assert f" {report.n} | {report.rate('uar')} | {report.rate('war')} |" in line
    assert script.table(IDS) in page, "run docs/write_reproductions.py"
