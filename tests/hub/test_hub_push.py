"""Publishing and loading over HTTP: the unmodified huggingface_hub against a small Hub on this machine."""

import dataclasses
import hashlib
import json
import os
import runpy
import shutil
import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
import yaml
from answers import by_label
from conftest import ROOT
from elsewhere import held_elsewhere
from hub_server import READ_TOKEN, TOKEN, HubServer
from huggingface_hub import ModelCard
from prepared import Prepared
from tiny import TINY_ENCODERS
from transformers import pipeline

from ser_hf import split
from ser_hf.files import LOCK, FolderInUseError, FolderLock
from ser_hf.hub.card import write_card
from ser_hf.hub.outgoing import HubError
from ser_hf.hub.push import WAITS_SECONDS, push
from ser_hf.hub.save import save_run
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.evaluate import evaluate
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.temperature import emotion_layer
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.splits.split import get_protocol

pytestmark = pytest.mark.slow

QUICK = ["--report_to", "none", "--disable_tqdm", "true", "--max_steps", "2", "--use_cpu", "true",
         "--allow_partial", "true"]  # fmt: skip
COMMIT = "POST /api/models/user/voice/commit"


@pytest.fixture(scope="module")
def server():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of huggingface_hub in the processes."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def hub(server, home):
    """The server with nothing in it, and nothing of it in the home of the processes."""
    server.clear()
    shutil.rmtree(home, ignore_errors=True)
    yield server
    assert server.unknown == [], "the server does not speak all that was asked of it"


@pytest.fixture(scope="module")
def prepared(server, home):
    """Its processes take the server for the Hub, which huggingface_hub decides when it is imported."""
    with Prepared(os.environ | server.environment(home)) as started:
        yield started


@pytest.fixture
def process(hub, home, prepared, tmp_path):
    """Runs Python in a process of its own that takes the server for the Hub."""

    def run(*words, token=TOKEN):
        environment = os.environ | hub.environment(home, token)
        command = [*prepared.python, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    return run


@pytest.fixture
def ser_hf(process):
    return lambda *words, **options: process("-m", "ser_hf.cli.main", *words, **options)


PUBLISHER = """
import dataclasses, json, sys
from ser_hf.hub.outgoing import HubError
from ser_hf.hub import push as module
from ser_hf.hub.push import push
module.WAITS_SECONDS = (0.01, 0.01)
for line in sys.stdin:
    try:
        answer = dataclasses.asdict(push(**json.loads(line)))
    except HubError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def publisher(server, home, prepared):
    """A process that pushes what it is told."""
    environment = os.environ | server.environment(home)
    command = [*prepared.python, "-c", PUBLISHER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def publish(hub, publisher):
    """`push` in that process: its `Publication` as a dictionary, or {"refused": message}."""

    def run(folder, repo_id, **options):
        print(json.dumps({"folder": str(folder), "repo_id": repo_id, **options}), file=publisher.stdin, flush=True)
        return json.loads(publisher.stdout.readline())

    return run


@pytest.fixture(scope="module")
def finished(synthetic, tmp_path_factory):
    """Saved runs of a stock class and of a family of ours, with heads whose scores differ from clip to clip."""
    rows = split(synthetic, "synthetic/si4", 0)["test"].select(range(0, 240, 20))
    folders = {}
    for name in ("tiny-hubert", "tiny-whisper"):
        torch.manual_seed(0)
        model, extractor = build_classifier(name, rows.features["label"].names)
        head = emotion_layer(model)
        with torch.no_grad():
            head.weight.mul_(50)
        model.config.head_is_trained = True
        protocol = get_protocol("synthetic/si4")
        table = evaluate(model.eval(), extractor, rows, protocol, fold=0, seed=0, model_name=name)
        folders[name] = tmp_path_factory.mktemp("runs") / "latest"
        save_run(folders[name], model, extractor, RunTables(table), base_model=name)
    return folders


@pytest.fixture
def run(finished, tmp_path):
    """A run of a stock class as a training leaves it, with much that is nobody else's."""
    folder = shutil.copytree(finished["tiny-hubert"], tmp_path / "latest")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-2").mkdir()
    (folder / "checkpoint-2/optimizer.pt").write_bytes(b"moments")
    (folder / "checkpoint-2/model.safetensors").write_bytes(b"other weights")
    (folder / "runs").mkdir()
    (folder / "notes.txt").write_text("call Ann")
    (folder / ".env").write_text("HF_TOKEN=secret")
    options = {
        "learning_rate": 0.1, "roots": [f"ravdess={tmp_path}/My corpora/RAVDESS", "emodb=emodb"],
        "output_dir": str(folder), "hub_token": "secret",
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(options))
    return folder


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- what is published works ------------------------------------------------------------------------------------------

STRANGER = """
import json, sys
sys.modules["ser_hf"] = None  # an import of it would fail
import numpy, transformers
name, needs_code, clips = sys.argv[1:]
classify = transformers.pipeline("audio-classification", model=name, trust_remote_code=bool(int(needs_code)))
print(json.dumps([classify(clip, top_k=None) for clip in numpy.load(clips)]))
"""
COLLEAGUE = """
import json, sys, numpy
from ser_hf import Classifier
clips = [{"array": clip, "sampling_rate": 16_000} for clip in numpy.load(sys.argv[2])]
print(json.dumps(Classifier.from_pretrained(sys.argv[1], device="cpu")(clips)))
"""


@pytest.mark.parametrize(("name", "needs_code"), [("tiny-hubert", False), ("tiny-whisper", True)])
def test_a_published_model_answers_like_its_folder_also_without_ser_hf(
    finished, name, needs_code, hub, process, ser_hf, tmp_path
):
    before = digests(finished[name])
    ended = ser_hf("push", finished[name], "--to", "user/voice", "--json")
    assert ended.returncode == 0, ended.stderr
    (commit,) = hub.repositories["user/voice"].published
    assert json.loads(ended.stdout)["url"] == f"{hub.url}/user/voice/commit/{commit.oid}"
    assert digests(finished[name]) == before

    noise, time = np.random.default_rng(0).normal(0, 0.1, 16_000), np.arange(16_000) / 16_000
    clips = np.stack([noise, np.sin(2 * np.pi * 200 * time), 0.01 * noise * time]).astype(np.float32)
    np.save(tmp_path / "clips.npy", clips)
    local = pipeline("audio-classification", model=str(finished[name]), trust_remote_code=needs_code)
    wanted = [{row["label"]: row["score"] for row in local(clip, top_k=None)} for clip in clips]
    assert abs(wanted[0]["anger"] - wanted[1]["anger"]) > 1e-3, "a model that answers always the same would pass"

    ended = process("-c", STRANGER, "user/voice", int(needs_code), tmp_path / "clips.npy", token=None)
    assert ended.returncode == 0, ended.stderr
    answers = [{row["label"]: row["score"] for row in rows} for rows in json.loads(ended.stdout.splitlines()[-1])]
    assert answers == [pytest.approx(scores, abs=1e-5) for scores in wanted]

    assert f"GET /lfs/{commit.files['model.safetensors'].oid}" in hub.requests, "the weights came over the wire"


def test_a_published_model_of_ours_is_loaded_by_name_where_ser_hf_is(finished, hub, publish, process, tmp_path):
    publish(finished["tiny-whisper"], "user/voice")
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    np.save(tmp_path / "clips.npy", clips)
    ended = process("-c", COLLEAGUE, "user/voice", tmp_path / "clips.npy", token=None)
    assert ended.returncode == 0, ended.stderr
    local = Classifier.from_pretrained(str(finished["tiny-whisper"]), device="cpu")
    wanted = map(by_label, local([{"array": clip, "sampling_rate": 16_000} for clip in clips]))
    answers = map(by_label, json.loads(ended.stdout.splitlines()[-1]))
    assert list(answers) == [pytest.approx(scores, abs=1e-5) for scores in wanted]
    assert not any(request.endswith(".py") for request in hub.requests if request.startswith("GET"))


def test_the_published_card_is_called_by_the_repository_and_holds_the_same_results(finished, hub, publish):
    publish(finished["tiny-whisper"], "lab/voice")
    text = hub.repositories["lab/voice"].head.files["README.md"].content.decode()
    assert 'pipeline("audio-classification", model="lab/voice", trust_remote_code=True)' in text
    assert "# voice\n" in text
    assert "latest" not in text, "the name of the local folder"
    published, local = ModelCard(text).data, ModelCard.load(finished["tiny-whisper"] / "README.md").data
    assert published.model_name == "voice"
    assert published.eval_results == local.eval_results
    report = EvaluationReport.read(finished["tiny-whisper"] / "report.json")
    assert published.eval_results[0].metric_value == round(report.uar, 4)
    assert report.rate("uar") in hub.repositories["lab/voice"].head.title


def test_the_card_names_the_corpora_that_were_heard_and_not_those_of_the_test(run):
    report = EvaluationReport.read(run / "report.json")
    for trained_on, wanted in ((["emodb", "nemo"], "emodb, nemo"), ([], "unknown corpora")):
        write_card(run, dataclasses.replace(report, trained_on=trained_on), base_model="tiny-hubert")
        assert f"Base model: `tiny-hubert`. Trained on: {wanted}. All" in (run / "README.md").read_text()


def test_a_dry_run_lists_what_the_push_then_commits_and_asks_nobody(run, hub, ser_hf):
    ended = ser_hf("push", run, "--to", "user/voice", "--dry-run", "--json", token=None)
    assert ended.returncode == 0, ended.stderr
    assert hub.requests == []
    dry = json.loads(ended.stdout)
    assert dry["url"] is None
    ended = ser_hf("push", run, "--to", "user/voice", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) | {"url": None} == dry
    (commit,) = hub.repositories["user/voice"].published
    sizes = {path: len(file.content) for path, file in commit.files.items() if path != ".gitattributes"}
    assert {file["path"]: file["size"] for file in dry["files"]} == sizes
    assert dry["size"] == sum(sizes.values())


def test_the_command_prints_a_file_a_line_their_sum_and_what_stays(run, hub, ser_hf):
    printed = ser_hf("push", run, "--private").stdout.splitlines()
    assert hub.repositories["user/latest"].private
    (commit,) = hub.repositories["user/latest"].published
    sizes = {path: len(file.content) for path, file in commit.files.items() if path != ".gitattributes"}
    assert [line.split() for line in printed[: len(sizes)]] == [[f"{size:,}", path] for path, size in sizes.items()]
    assert printed[len(sizes) :] == [
        f"{sum(sizes.values()):,}  in all, in user/latest",
        "not published: .env, checkpoint-2/, notes.txt, predictions.parquet, report.html, runs/, training_args.bin",
        f"{hub.url}/user/latest/commit/{commit.oid}",
    ]


def test_checkpoints_pickles_secrets_and_the_prediction_table_stay_at_home(run, finished):
    published = push(run, "user/voice", dry_run=True)
    assert set(published.files) == {
        "README.md", "config.json", "confusion.png", "cost.json", "metrics.csv", "model.safetensors",
        "preprocessor_config.json", "report.json", "report.md", "run.yaml",
    }  # fmt: skip
    assert list(published.left_out) == [
        ".env", "checkpoint-2/", "notes.txt", "predictions.parquet", "report.html", "runs/", "training_args.bin",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*TINY_ENCODERS, "test_resnet", "vggish"])
def test_all_code_that_a_family_saves_is_published_and_no_other(finished, name, tmp_path):
    folder = shutil.copytree(finished["tiny-hubert"], tmp_path / "latest")
    model, extractor = build_classifier(name, EvaluationReport.read(folder / "report.json").classes)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    code = {path.name for path in folder.glob("*.py")}
    (folder / "scratch.py").write_text("print('mine')")
    published = push(folder, "user/voice", dry_run=True)
    assert {path for path in published.files if path.endswith(".py")} == code
    assert "scratch.py" in published.left_out


def test_no_folder_of_this_machine_and_no_token_is_published(run, hub, publish, tmp_path):
    publish(run, "user/voice")
    files = hub.repositories["user/voice"].head.files
    assert yaml.safe_load(files["run.yaml"].content) == {
        "learning_rate": 0.1, "roots": ["ravdess=RAVDESS", "emodb=emodb"], "output_dir": "latest",
    }  # fmt: skip
    for name, file in files.items():
        assert str(tmp_path).encode() not in file.content, name
        assert b"secret" not in file.content, name


@pytest.mark.parametrize(
    "words",
    [
        *("ravdess/si6/fold0", "https://doi.org/10.1/x", "<b>a</b>", "non-/semi-/fully acted", "about ~3/4 of it"),
        *("a/../b", "costs $5/h, 50%/50%", r"a \\ b", "./model", "1.../2", "and/or ... /"),
    ],
)
def test_a_slash_that_begins_no_path_of_this_machine_is_published(run, words):
    (run / "report.md").write_text(words)
    assert "report.md" in push(run, "user/voice", dry_run=True).files


def test_a_second_push_commits_only_what_has_changed_and_deletes_what_is_gone(run, hub, publish):
    (run / "forgetting.md").write_text("| stage | UAR |\n")
    first = publish(run, "user/voice")
    assert publish(run, "user/voice") == first
    repository = hub.repositories["user/voice"]
    assert len(repository.published) == 1, "nothing has changed"
    (run / "forgetting.md").unlink()
    assert publish(run, "user/voice")["url"] != first["url"]
    before, after = repository.published
    assert before.files.keys() - after.files.keys() == {"forgetting.md"}
    assert {name: before.files[name] for name in after.files} == after.files


def test_a_bare_name_is_the_users_own_and_private_is_kept(run, hub, publish):
    assert publish(run, "latest", private=True)["repo_id"] == "user/latest"
    assert hub.repositories["user/latest"].private
    assert b'model="user/latest"' in hub.repositories["user/latest"].head.files["README.md"].content
    publish(run, "user/open")
    assert not hub.repositories["user/open"].private
    assert "user/open exists and is public" in publish(run, "user/open", private=True)["refused"]


# --- what is refused --------------------------------------------------------------------------------------------------


def spoil(name):
    def delete(folder):
        (folder / name).unlink()

    return delete


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: edit_json(run / "config.json", head_is_trained=False), "is not trained"),
        (lambda run: edit_json(run / "config.json", architectures=["HubertModel"]), "is not trained"),
        (lambda run: edit_json(run / "config.json", id2label={"0": "joy"}), "but its model has joy"),
        (lambda run: edit_json(run / "config.json", was="/home/ann/model"), "config.json contains /home/ann/model"),
        (lambda run: (run / "config.json").write_text("{"), "config.json is not JSON"),
        (spoil("preprocessor_config.json"), "is not a finished run: it has no preprocessor_config.json"),
        (spoil("report.json"), "has no report.json"),
        (spoil("README.md"), "has no README.md"),
        (spoil("model.safetensors"), "has no model.safetensors"),
        (lambda run: os.truncate(run / "model.safetensors", 5000), "model.safetensors are damaged"),
        (lambda run: (run / "README.md").write_text("# no front matter"), "no `pipeline_tag: audio-classification`"),
        (lambda run: (run / "README.md").write_text("---\na: [\n---\n"), "no valid front matter"),
        (lambda run: edit_json(run / "config.json", auto_map={"AutoConfig": "ours.Config"}), "lacks ours.py"),
        (lambda run: (run / "report.md").write_text(r"see C:\Users\ann\run"), r"report.md contains C:\Users\ann\run"),
        (
            lambda run: edit_json(run / "cost.json", of="file:///home/ann/run"),
            "cost.json contains file:///home/ann/run",
        ),
        (lambda run: (run / "report.md").write_text("recipe --/home/ann/run"), "report.md contains /home/ann/run"),
        (lambda run: (run / "report.md").write_text("see C:/Users/ann"), "report.md contains C:/Users/ann"),
        (lambda run: (run / "report.md").write_text("sqlite:////home/ann/study.db"), "report.md contains /home/ann"),
        (lambda run: (run / "run.yaml").write_text("note: from /home/ann/run\n"), "run.yaml contains /home/ann/run"),
        (
            lambda run: (run / "report.md").write_text(r"see \\server\share\run"),
            r"report.md contains \\server\share\run",
        ),
        (lambda run: edit_json(run / "cost.json", of=r"\\server\share\run"), r"cost.json contains \\\\server\\share"),
        (lambda run: (run / "report.md").write_text("from ~/runs/a"), "report.md contains ~/runs/a"),
        (lambda run: (run / "report.md").write_text("of ~ann/runs"), "report.md contains ~ann/runs"),
        (lambda run: (run / "report.md").write_text("in $HOME/runs"), "report.md contains $HOME/runs"),
        (
            lambda run: (run / "report.md").write_text(r"in %USERPROFILE%\runs"),
            r"report.md contains %USERPROFILE%\runs",
        ),
        (lambda run: (run / "report.md").write_text("(../../ann/runs)"), "report.md contains ../../ann/runs"),
        (lambda run: (run / "metrics.csv").write_text("of,/home/ann/run\n"), "metrics.csv contains /home/ann/run"),
        (lambda run: (run / "report.md").write_bytes(b"\xff\xfe"), "report.md is not text in UTF-8"),
        (shutil.rmtree, "there is no run folder"),
    ],
)
def test_a_folder_that_would_not_work_is_refused_before_anybody_is_asked(run, damage, message):
    damage(run)
    with pytest.raises(HubError) as refused:
        push(run, "user/voice", dry_run=True)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["metrics.csv", "model.safetensors", "report.md", "modeling_ours.py"])
def test_a_link_is_never_followed_to_what_somebody_else_keeps(run, name, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "secret")
    with pytest.raises(HubError, match=rf"{name} is a link to .*secret: only regular files are published"):
        push(run, "user/voice", dry_run=True)


def test_options_are_published_without_folders_of_any_kind(run, hub, publish):
    options = {
        "roots": [r"emodb=\\server\share\EMO-DB", "ravdess=~/data/RAVDESS/", r"nemo=D:\data\nEMO"],
        "output_dir": "../../runs/mine", "precomputed": "runs/cache",
    }  # fmt: skip
    (run / "run.yaml").write_text(yaml.safe_dump(options))
    publish(run, "user/voice")
    assert yaml.safe_load(hub.repositories["user/voice"].head.files["run.yaml"].content) == {
        "roots": ["emodb=EMO-DB", "ravdess=RAVDESS", "nemo=nEMO"], "output_dir": "mine", "precomputed": "runs/cache",
    }  # fmt: skip


def test_a_folder_that_another_process_writes_into_is_not_published(run):
    with (
        held_elsewhere(run),
        pytest.raises(FolderInUseError, match=r"another process \(process \d+ on .*\) is writing into"),
    ):
        push(run, "user/voice", token=TOKEN)
    with FolderLock(run):  # that of the killed process is free
        pass
    assert not (run / LOCK).exists()


def test_several_folds_and_strange_names_are_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "folds/fold0")
    with pytest.raises(HubError, match="several models: publish one of its folders fold0"):
        push(tmp_path / "folds", "user/voice", dry_run=True)
    for name in ("a/b/c", "user/voice!", "user/", "-"):
        with pytest.raises(HubError, match="is not a repository name"):
            push(run, name, dry_run=True)


@pytest.mark.parametrize(
    ("repo_id", "token", "faults", "message"),
    [
        ("user/voice", "stale", {}, "could not verify your token (401"),
        ("user/voice", READ_TOKEN, {}, "your token can only read"),
        ("other/voice", TOKEN, {}, "you cannot publish as 'other': your token belongs to user or lab"),
        ("user/voice", TOKEN, {"GET /api/whoami": "drop"}, "could not verify your token"),
        ("user/voice", TOKEN, {"POST /api/repos/create": 500}, "(500 the test wants it so)"),
        ("user/voice", TOKEN, {"PUT /lfs": 403}, "(403 the test wants it so)"),
        ("user/voice", TOKEN, {COMMIT: 500}, "(500 the test wants it so)"),
        ("user/voice", TOKEN, {COMMIT: "drop"}, "could not be published as user/voice"),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_nothing_is_half_published(
    run, hub, publish, repo_id, token, faults, message
):
    hub.faults = faults
    refused = publish(run, repo_id, token=token)["refused"]
    assert message in refused
    assert "\n" not in refused
    assert not any(repository.published for repository in hub.repositories.values())
    hub.faults = {}
    if faults:
        assert publish(run, repo_id, token=token)["url"], "the same works once the Hub does"


@pytest.mark.parametrize("fault", [503, 429, "drop"])
@pytest.mark.parametrize("request_", ["GET /api/whoami", "POST /api/repos/create", "PUT /lfs", COMMIT])
def test_a_passing_failure_of_the_hub_is_waited_out_and_makes_one_commit(run, hub, publish, request_, fault):
    hub.faults = {request_: [fault, fault]}
    assert publish(run, "user/voice")["url"]
    (commit,) = hub.repositories["user/voice"].published
    assert "model.safetensors" in commit.files


@pytest.mark.parametrize(
    ("token", "faults", "message"),
    [
        (None, {}, "you are not logged in to the Hugging Face Hub: run `hf auth login` or set HF_TOKEN"),
        (TOKEN, {COMMIT: "drop"}, "could not be published as user/voice"),
    ],
)
def test_the_command_says_so_in_one_line_with_exit_code_1(run, hub, ser_hf, token, faults, message):
    hub.faults = faults
    ended = ser_hf("push", run, "--to", "user/voice", token=token)
    assert ended.returncode == 1
    *attempts, line = ended.stderr.splitlines()
    assert len(attempts) == (4 if faults else 0)
    assert line.startswith("ser-hf: ")
    assert message in line
    assert (hub.requests == []) == (token is None)


# --- recipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["train_classifier.py", "hubert_curriculum.py"])
def test_a_recipe_publishes_its_finished_run_in_one_commit_of_ours(
    recipe, hub, process, quarter, monkeypatch, tmp_path
):
    """Here the Hub fails at first, after the training: the same command again publishes what was trained."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(quarter))
    words = ["--output_dir", "run", "--push_to_hub", "--hub_model_id", "user/voice", "--hub_token", TOKEN, *QUICK]
    hub.faults = {COMMIT: 500}
    ended = process(ROOT / "recipes" / recipe, *words, token=None)
    assert ended.stderr.splitlines()[-1].startswith(f"{recipe}: run could not be published as user/voice (500")
    assert hub.requests.count("GET /api/whoami-v2") == 2
    assert hub.requests.count("POST /api/repos/create") == 1 + len(WAITS_SECONDS), "it tries again while the Hub fails"
    assert hub.requests[0] == "GET /api/whoami-v2", "asked before the training"
    assert not hub.repositories["user/voice"].published

    hub.faults = {}
    trained = max((tmp_path / "run").rglob("trainer_state.json")).stat().st_mtime_ns
    ended = process(ROOT / "recipes" / recipe, *words, token=None)
    assert ended.returncode == 0, ended.stderr
    assert max((tmp_path / "run").rglob("trainer_state.json")).stat().st_mtime_ns == trained
    (commit,) = hub.repositories["user/voice"].published
    assert ended.stdout.splitlines()[-1] == f"{hub.url}/user/voice/commit/{commit.oid}"
    assert b"ser_hf" in commit.files["README.md"].content
    assert b"generated_from_trainer" not in commit.files["README.md"].content
    assert ("forgetting.json" in commit.files) == (recipe == "hubert_curriculum.py")
    assert {"ledger.json", "run.yaml", "report.json"} < commit.files.keys()
    assert {"training_args.bin", "predictions.parquet"}.isdisjoint(commit.files)
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), f"{path} holds the token"

    np.save(tmp_path / "clips.npy", np.zeros((1, 16_000), dtype=np.float32))
    ended = process("-c", STRANGER, "user/voice", 0, tmp_path / "clips.npy", token=None)
    assert ended.returncode == 0, ended.stderr
    (answer,) = json.loads(ended.stdout.splitlines()[-1])
    local = pipeline("audio-classification", model=str(tmp_path / "run"))
    wanted = {row["label"]: row["score"] for row in local(np.zeros(16_000, dtype=np.float32), top_k=None)}
    assert {row["label"]: row["score"] for row in answer} == pytest.approx(wanted, abs=1e-5)


def test_what_would_stop_a_push_is_told_before_the_training(hub, process, tmp_path):
    words = ["--output_dir", "run", "--push_to_hub", "--hub_model_id", "other/voice", *QUICK]
    ended = process(ROOT / "recipes/train_classifier.py", *words)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("train_classifier.py: you cannot publish as 'other'")
    assert not (tmp_path / "run").exists()
    assert hub.requests == ["GET /api/whoami-v2"]


@pytest.mark.parametrize("folds", [["-1"], ["0", "1"]])
@pytest.mark.parametrize("recipe", ["train_classifier.py", "hubert_curriculum.py"])
def test_several_folds_are_not_trained_for_a_push_of_one_model(recipe, folds, quarter, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(quarter))
    words = ["--output_dir", tmp_path / "run", "--push_to_hub", "--folds", *folds, *QUICK]
    monkeypatch.setattr("sys.argv", [recipe, *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "recipes" / recipe), run_name="__main__")
    told = f"{ended.value} {capsys.readouterr().err}"
    # A curriculum takes one fold at a time, published or not.
    assert "push_to_hub needs one fold" in told or "a curriculum runs on one fold" in told
    assert not (tmp_path / "run").exists()


# --- the server is no pushover ----------------------------------------------------------------------------------------


def test_the_server_is_as_strict_as_the_hub(hub):
    def ask(method, path, body=b"", **headers):
        request = urllib.request.Request(f"{hub.url}{path}", body or None, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    content = b"weights" * 10
    oid, known = hashlib.sha256(content).hexdigest(), {"Authorization": f"Bearer {TOKEN}"}
    create = json.dumps({"name": "voice", "organization": "user"}).encode()
    assert ask("POST", "/api/repos/create", create)[0] == 401
    assert ask("POST", "/api/repos/create", create, Authorization=f"Bearer {READ_TOKEN}")[0] == 403
    assert ask("POST", "/api/repos/create", create, **known)[0] == 200
    assert ask("POST", "/api/repos/create", create, **known)[0] == 409
    pointer = {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": len(content)}
    lines = [{"key": "header", "value": {"summary": "one"}}, {"key": "lfsFile", "value": pointer}]
    commit = "\n".join(map(json.dumps, lines)).encode()
    assert ask("POST", "/api/models/user/voice/commit/main", commit, **known)[0] == 400, "the object is not there"
    assert ask("PUT", f"/lfs/{oid}", content)[0] == 403, "not announced"
    batch = json.dumps({"objects": [{"oid": oid, "size": len(content)}]}).encode()
    assert ask("POST", "/user/voice.git/info/lfs/objects/batch", batch)[0] == 401
    assert ask("POST", "/user/voice.git/info/lfs/objects/batch", batch, **known)[0] == 200
    assert ask("PUT", f"/lfs/{oid}", b"forged")[0] == 400
    assert ask("PUT", f"/lfs/{oid}", content)[0] == 200
    assert ask("POST", "/api/models/user/voice/commit/main", commit)[0] == 401
    assert not hub.repositories["user/voice"].published
    assert ask("POST", "/api/models/user/voice/commit/main", commit, **known)[0] == 200
    resolved = "/user/voice/resolve/main/model.safetensors"
    assert ask("GET", resolved, Range="bytes=60-") == (206, content[60:])
    assert ask("GET", resolved, Range="bytes=70-")[0] == 416
    assert ask("GET", resolved) == (200, content)
