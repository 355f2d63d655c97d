"""Downloads from a publisher who is on this machine, and breaks every promise at least once."""

import csv
import dataclasses
import hashlib
import io
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path, PurePosixPath

import pytest
from conftest import build_miniature
from filelock import FileLock
from publisher import Publisher

from ser_hf import list_corpora
from ser_hf.cli.main import main
from ser_hf.corpora import CorpusError, crema_d, get_corpus, nemo, ravdess, read_corpus
from ser_hf.sources import download
from ser_hf.sources.download import ATTEMPTS, download_corpus, fetch
from ser_hf.sources.spec import Download

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(250_000)


def sum_of(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def publisher():
    with Publisher({"/file": CONTENT}) as publisher:
        yield publisher


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# One file


@pytest.mark.parametrize("seed", range(5))
def test_a_file_arrives_whole_and_no_byte_twice_however_often_the_connection_drops(publisher, tmp_path, seed):
    drops = random.Random(seed)
    publisher.faults = [{"stop": drops.randrange(60_000)} for _ in range(ATTEMPTS - 1)]
    fetch(f"{publisher.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(publisher.answers) == ATTEMPTS
    assert sum(answer.sent for answer in publisher.answers) == len(CONTENT)
    assert listing(tmp_path) == ["file"]


def test_a_server_without_ranges_begins_again(publisher, tmp_path):
    publisher.ranges = False
    publisher.faults = [{"stop": 200_000}, {"stop": 10}]
    fetch(f"{publisher.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [answer.status for answer in publisher.answers] == [200, 200, 200]


@pytest.mark.parametrize(("compares", "statuses"), [(True, [200, 200]), (False, [200, 206, 200])])
def test_a_file_that_changes_in_between_is_not_spliced(publisher, tmp_path, compares, statuses):
    publisher.compares = compares
    publisher.faults = [{"stop": 100_000}, {"change": OTHER}]
    fetch(f"{publisher.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OTHER
    assert [answer.status for answer in publisher.answers] == statuses


def test_without_a_version_only_a_checksum_allows_to_resume(publisher, tmp_path):
    publisher.versions = False
    for checksum, starts in (None, [0, 0]), (sum_of(CONTENT), [0, 100_000]):
        publisher.answers.clear()
        publisher.faults = [{"stop": 100_000}]
        fetch(f"{publisher.url}/file", tmp_path / "file", checksum=checksum)
        assert (tmp_path / "file").read_bytes() == CONTENT
        assert [answer.start for answer in publisher.answers] == starts


def test_a_part_of_another_address_is_not_built_upon(publisher, tmp_path):
    publisher.files["/other"], publisher.versions = OTHER, False
    publisher.faults = [{"stop": 100_000}] + [{"status": 503}] * (ATTEMPTS - 1)
    with pytest.raises(CorpusError, match="503"):
        fetch(f"{publisher.url}/file", tmp_path / "file", checksum=sum_of(CONTENT))
    fetch(f"{publisher.url}/other", tmp_path / "file", checksum=sum_of(OTHER))
    assert (tmp_path / "file").read_bytes() == OTHER


def test_a_body_shorter_than_announced_is_never_taken_for_the_file(publisher, tmp_path):
    publisher.faults = [{"announce": len(CONTENT) + 1}]
    fetch(f"{publisher.url}/file", tmp_path / "file")  # the second request is told that it has everything
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [answer.status for answer in publisher.answers] == [200, 416]

    publisher.ranges = False
    publisher.faults = [{"announce": len(CONTENT) + 1}] * ATTEMPTS
    with pytest.raises(CorpusError, match=f"failed {ATTEMPTS} times, .* ended after 300,000 of 300,001 bytes"):
        fetch(f"{publisher.url}/file", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_is_refused(publisher, tmp_path, size, lengths):
    publisher.lengths = lengths
    with pytest.raises(CorpusError, match=f"{size:,}"):
        fetch(f"{publisher.url}/file", tmp_path / "file", size=size)
    assert not (tmp_path / "file").exists()


def test_a_wrong_checksum_names_both_sums_and_removes_the_file(publisher, tmp_path):
    publisher.files["/file"] = OTHER
    with pytest.raises(CorpusError) as told:
        fetch(f"{publisher.url}/file", tmp_path / "file", checksum=sum_of(CONTENT, "md5"))
    assert hashlib.md5(CONTENT).hexdigest() in str(told.value)
    assert hashlib.md5(OTHER).hexdigest() in str(told.value)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, ATTEMPTS), (429, ATTEMPTS)])
def test_only_what_may_pass_is_tried_again_and_not_for_ever(publisher, tmp_path, status, requests):
    publisher.faults = [{"status": status}] * 20
    with pytest.raises(CorpusError, match=f"HTTP {status}"):
        fetch(f"{publisher.url}/file", tmp_path / "file")
    assert len(publisher.answers) == requests
    assert listing(tmp_path) == []


def test_nobody_listening_is_told(tmp_path):
    with Publisher() as gone:
        url = gone.url
    with pytest.raises(CorpusError, match="refused"):
        fetch(url, tmp_path / "file")


def test_a_redirected_file_is_resumed_too(publisher, tmp_path):
    publisher.redirects = {"/moved": "/file"}
    publisher.faults = [{}, {"stop": 100_000}]
    fetch(f"{publisher.url}/moved", tmp_path / "file", size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [answer.start for answer in publisher.answers if answer.path == "/file"] == [0, 100_000]


def test_a_full_disk_is_told_before_anything_is_written(publisher, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")(len(CONTENT) - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"needs 300,000 bytes, but its disk has 299,999 left"):
        fetch(f"{publisher.url}/file", tmp_path / "file")
    assert listing(tmp_path) == []


def test_a_disk_that_takes_a_part_of_what_it_is_given_leaves_no_hole(publisher, tmp_path, monkeypatch):
    class Reluctant(io.FileIO):
        def write(self, chunk):
            return super().write(chunk[: max(1, len(chunk) // 2)])

    def open_reluctantly(path, mode="r", buffering=-1, **how):
        return Reluctant(path, mode.replace("b", "")) if buffering == 0 else open(path, mode, buffering, **how)

    monkeypatch.setattr(Path, "open", open_reluctantly)
    publisher.faults = [{"stop": 100_001}]
    fetch(f"{publisher.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


# A corpus


@pytest.fixture
def published(publisher, tmp_path, monkeypatch):
    """A miniature of RAVDESS whose spec names the local publisher and the size of the miniature."""
    archive = zipped(build_miniature(ravdess.SPEC, tmp_path / "miniature"))
    publisher.files["/speech.zip"] = archive
    monkeypatch.setattr(
        ravdess,
        "SPEC",
        dataclasses.replace(
            ravdess.SPEC,
            utterances=len(ravdess.SPEC.examples),
            downloads=(
                dataclasses.replace(
                    ravdess.SPEC.downloads[0],
                    url=f"{publisher.url}/speech.zip",
                    size=len(archive),
                    checksum=sum_of(archive, "md5"),
                ),
            ),
        ),
    )
    return publisher


def zipped(folder, top=""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def test_a_corpus_arrives_complete_and_is_not_fetched_again(published, tmp_path):
    root = tmp_path / "corpora" / "ravdess"
    published.faults = [{"stop": 1000}]
    assert download_corpus(ravdess.SPEC, root) == root
    assert len(read_corpus(ravdess.SPEC, root)) == 6
    assert listing(root.parent) == ["ravdess", *(f"ravdess/{name}" for name in listing(root))], "nothing else is left"
    requests = len(published.answers)
    download_corpus(ravdess.SPEC, root)
    assert len(published.answers) == requests == 2


def test_nothing_is_downloaded_over_a_part_of_a_corpus_or_over_something_else(published, tmp_path):
    root = build_miniature(ravdess.SPEC, tmp_path / "ravdess")
    (root / ravdess.SPEC.examples[0]).unlink()
    with pytest.raises(CorpusError, match=r"found 5 of 6 .* nothing is downloaded into"):
        download_corpus(ravdess.SPEC, root)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("dear")
    with pytest.raises(CorpusError, match="nothing is downloaded into"):
        download_corpus(ravdess.SPEC, tmp_path / "else")
    assert published.answers == []


def test_an_empty_folder_is_filled(published, tmp_path):
    (tmp_path / "ravdess").mkdir()
    assert len(read_corpus(ravdess.SPEC, download_corpus(ravdess.SPEC, tmp_path / "ravdess"))) == 6


@pytest.mark.parametrize("known", [True, False])
def test_a_web_page_in_place_of_the_archive_is_refused_and_not_kept(published, tmp_path, known):
    page = b"<!DOCTYPE html><html>Please log in</html>"
    fact = ravdess.SPEC.downloads[0]
    archive, published.files["/speech.zip"] = published.files["/speech.zip"], page
    spec = ravdess.SPEC
    if not known:
        spec = dataclasses.replace(spec, downloads=(dataclasses.replace(fact, size=None, checksum=None),))
    with pytest.raises(CorpusError, match="announces 41 bytes" if known else "neither a zip nor a tar"):
        download_corpus(spec, tmp_path / "ravdess")
    assert not (tmp_path / "ravdess").exists()
    published.files["/speech.zip"] = archive
    assert len(read_corpus(spec, download_corpus(spec, tmp_path / "ravdess"))) == 6


def test_an_archive_that_was_verified_before_a_kill_is_verified_again(published, tmp_path):
    under_way = tmp_path / "ravdess.download"
    under_way.mkdir()
    archive = under_way / ravdess.SPEC.downloads[0].file
    archive.write_bytes(published.files["/speech.zip"][:-1] + b"?")
    with pytest.raises(CorpusError, match="md5"):
        download_corpus(ravdess.SPEC, tmp_path / "ravdess")
    archive.write_bytes(published.files["/speech.zip"])
    download_corpus(ravdess.SPEC, tmp_path / "ravdess")
    assert published.answers == []


def test_a_killed_unpacking_is_begun_again(published, tmp_path, monkeypatch):
    unfinished = tmp_path / "ravdess.download" / "release.unpacking" / "Actor_01"
    unfinished.mkdir(parents=True)
    (unfinished / "03-01-01-01-01-01-01.wav").write_bytes(b"half")
    download_corpus(ravdess.SPEC, tmp_path / "ravdess")
    assert (tmp_path / "ravdess/Actor_01/03-01-01-01-01-01-01.wav").stat().st_size > 4


def test_two_runs_do_not_write_into_the_same_file(published, tmp_path):
    (tmp_path / "ravdess.download").mkdir()
    with (
        FileLock(tmp_path / "ravdess.download" / "lock"),
        pytest.raises(CorpusError, match="another process is downloading ravdess"),
    ):
        download_corpus(ravdess.SPEC, tmp_path / "ravdess")
    assert published.answers == []


def test_files_and_archives_of_one_release_go_to_their_folders(publisher, tmp_path):
    root = build_miniature(nemo.SPEC, tmp_path / "miniature")
    publisher.files = {
        "/data.tsv": (root / "data.tsv").read_bytes(),
        "/sound.zip": zipped(root / "samples", top="nEMO/"),
    }
    spec = dataclasses.replace(
        nemo.SPEC,
        downloads=(
            Download(f"{publisher.url}/data.tsv", file="data.tsv", archive=False),
            Download(f"{publisher.url}/sound.zip", file="sound.zip", folder="samples", top="nEMO"),
        ),
    )
    assert len(read_corpus(spec, download_corpus(spec, tmp_path / "nemo"), allow_partial=True)) == 6


@pytest.mark.parametrize("name", list_corpora())
def test_the_facts_of_a_download_are_well_formed(name):
    spec = get_corpus(name)
    places = []
    for fact in spec.downloads:
        assert fact.url.startswith(("https://", "http://"))
        assert fact.size is None or fact.size > 0
        if fact.checksum is not None:
            algorithm, digest = fact.checksum.split(":")
            assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size
        assert bool(fact.pointers) == bool(fact.media)
        assert fact.media.endswith("/") or not fact.media
        places.append(PurePosixPath(fact.folder, "" if fact.archive else fact.file))
    assert len({fact.file for fact in spec.downloads}) == len(spec.downloads)
    for number, place in enumerate(places):
        inside = [other for other in places[:number] + places[number + 1 :] if place in (other, *other.parents)]
        assert not inside, "what is in place is known to be whole only if nothing else is put into it"


# A corpus in git-LFS


@pytest.fixture
def repository(publisher, tmp_path, monkeypatch):
    """A miniature of CREMA-D as its repository: an archive full of pointers, and the files that they stand for."""
    root = build_miniature(crema_d.SPEC, tmp_path / "miniature")
    publish_repository(publisher, root, {path: path.read_bytes() for path in root.glob("AudioWAV/*")}, monkeypatch)
    return publisher


def publish_repository(publisher, root, recordings, monkeypatch):
    for path, content in recordings.items():
        publisher.files[f"/media/AudioWAV/{path.name}"] = content
        path.write_text(f"version https://git-lfs.github.com/spec/v1\noid {sum_of(content)}\nsize {len(content)}\n")
    (root / "AudioMP3").mkdir()
    (root / "AudioMP3" / "1001_IEO_NEU_XX.mp3").write_text("version https://git-lfs.github.com/spec/v1\n")
    fact = crema_d.SPEC.downloads[0]
    publisher.files["/archive.zip"] = zipped(root, top=f"{fact.top}/")
    fact = dataclasses.replace(fact, url=f"{publisher.url}/archive.zip", media=f"{publisher.url}/media/")
    monkeypatch.setattr(crema_d, "SPEC", dataclasses.replace(crema_d.SPEC, downloads=(fact,)))


def test_pointers_become_the_recordings_they_stand_for(repository, tmp_path):
    root = download_corpus(crema_d.SPEC, tmp_path / "crema_d")
    assert len(read_corpus(crema_d.SPEC, root, label_source="intended", allow_partial=True)) == 6
    for name in crema_d.SPEC.examples:
        assert (root / name).read_bytes() == repository.files[f"/media/{name}"]
    assert listing(root / "AudioWAV") == sorted(name.split("/")[1] for name in crema_d.SPEC.examples)


def test_a_recording_that_is_not_what_its_pointer_says_stops_all_and_the_rest_is_kept(repository, tmp_path):
    wrong = f"/media/{crema_d.SPEC.examples[3]}"
    right = repository.files[wrong]
    repository.files[wrong] = right[:-1] + b"?"
    with pytest.raises(CorpusError, match=f"sent a file with the sha256 .* {hashlib.sha256(right).hexdigest()}"):
        download_corpus(crema_d.SPEC, tmp_path / "crema_d")
    assert not (tmp_path / "crema_d").exists()
    pointer = tmp_path / "crema_d.download" / "release" / crema_d.SPEC.examples[3]
    assert pointer.read_text().startswith("version https://git-lfs")

    repository.files[wrong] = right
    fetched = [answer.path for answer in repository.answers if answer.path != wrong]
    download_corpus(crema_d.SPEC, tmp_path / "crema_d")
    assert len(read_corpus(crema_d.SPEC, tmp_path / "crema_d", label_source="intended", allow_partial=True)) == 6
    assert [answer.path for answer in repository.answers if answer.path != wrong].count("/archive.zip") == 1
    again = [answer.path for answer in repository.answers if answer.path != wrong][len(fetched) :]
    assert not set(again) & set(fetched), "what was verified is not asked for again"


@pytest.mark.real
def test_the_official_sums_of_crema_d_fit_its_recordings(publisher, tmp_path, monkeypatch, shared):
    originals = {path.name: path for path in (shared / "corpora/originals/crema-d/AudioWAV").glob("*.wav")}
    assert originals
    root = tmp_path / "repository"
    (root / "AudioWAV").mkdir(parents=True)
    (root / "VideoDemographics.csv").write_bytes((shared / "corpora/crema-d/VideoDemographics.csv").read_bytes())
    recordings = {root / "AudioWAV" / name: path.read_bytes() for name, path in originals.items()}
    publish_repository(publisher, root, recordings, monkeypatch)
    with (shared / "corpora/crema-d/OFFICIAL_SHA256.csv").open() as table:
        official = {row["file"]: row for row in csv.DictReader(table)}
    for path in recordings:  # the pointers as the repository has them, from its own list of sums
        row = official[f"AudioWAV/{path.name}"]
        assert path.read_text().splitlines()[1:] == [f"oid sha256:{row['sha256']}", f"size {row['size']}"]
    assert sum(int(row["size"]) for name, row in official.items() if name.startswith("AudioWAV/")) == 605_899_936
    arrived = download_corpus(crema_d.SPEC, tmp_path / "crema_d")
    assert len(read_corpus(crema_d.SPEC, arrived, label_source="intended", allow_partial=True)) == len(originals)


# The command


@pytest.fixture
def ser_hf(capsys, monkeypatch):
    """Runs the command in this process, with or without somebody to ask: (exit code, stdout, stderr)."""

    def run(*words, typed=None):
        class Terminal(io.StringIO):
            def isatty(self):
                return typed is not None

        monkeypatch.setattr("sys.stdin", Terminal(typed))
        monkeypatch.setattr("sys.argv", ["ser-hf", "corpora", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def test_the_command_shows_what_is_agreed_to_downloads_it_and_counts(published, tmp_path, ser_hf, monkeypatch):
    monkeypatch.setattr(ravdess, "SPEC", dataclasses.replace(ravdess.SPEC, utterances=1440))
    code, printed, complaint = ser_hf("download", "ravdess", "--root", tmp_path / "corpora", "--accept-licence")
    assert code == 0, complaint
    for fact in ("CC-BY-NC-SA-4.0", "Livingstone & Russo 2018", ravdess.SPEC.downloads[0].checksum):
        assert fact in printed
    assert "found 6 of 1440 utterances of ravdess" in printed
    assert "--allow_partial" in printed
    monkeypatch.setenv("SER_HF_CORPORA", str(tmp_path / "corpora"))
    assert len(read_corpus(ravdess.SPEC, allow_partial=True)) == 6
    code, _, complaint = ser_hf("download", "ravdess", "--accept-licence")
    assert code == 1
    assert "nothing is downloaded into" in complaint


def test_a_complete_corpus_is_neither_asked_about_nor_fetched(published, tmp_path, ser_hf, monkeypatch):
    monkeypatch.setenv("SER_HF_CORPORA", str(tmp_path))
    code, printed, _ = ser_hf("download", "ravdess", typed="y\n")
    assert code == 0
    assert "complete (6 utterances)" in printed
    requests = len(published.answers)
    code, printed, _ = ser_hf("download", "ravdess")
    assert code == 0
    assert "already: complete (6 utterances)" in printed
    assert len(published.answers) == requests


@pytest.mark.parametrize(("typed", "code"), [(None, 2), ("n\n", 1), ("\n", 1)])
def test_nothing_is_fetched_before_the_licence_is_accepted(published, tmp_path, ser_hf, typed, code):
    ended, printed, complaint = ser_hf("download", "ravdess", "--root", tmp_path / "corpora", typed=typed)
    assert ended == code
    assert "CC-BY-NC-SA-4.0" in printed
    assert complaint.startswith("ser-hf: ")
    assert complaint.count("\n") == 1
    assert published.answers == []
    assert not (tmp_path / "corpora").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("download", "iemocap"), 1, "sail.usc.edu/iemocap (research only, signed agreement)"),
        (("download", "folder"), 1, "recordings of yours"),
        (("download", "ravdes"), 1, "did you mean 'ravdess'"),
        (("download", "ravdess"), 1, "no folder for the download of ravdess"),
        (("download", "synthetic"), 0, "nothing to download"),
        (("--json", "download", "ravdess"), 2, "put the options after download"),
        (("unload", "ravdess"), 2, "No such command"),
    ],
)
def test_what_cannot_be_downloaded_is_told_with_the_way_out(ser_hf, monkeypatch, words, code, message):
    monkeypatch.delenv("SER_HF_CORPORA", raising=False)
    ended, printed, complaint = ser_hf(*words)
    assert ended == code
    assert message in printed + complaint
    if code == 1:
        assert complaint.startswith("ser-hf: ")
        assert complaint.count("\n") == 1


KILLED = """
import dataclasses, sys
from ser_hf.cli.main import main
from ser_hf.corpora import ravdess
fact = dataclasses.replace(ravdess.SPEC.downloads[0], url=sys.argv[1], size=int(sys.argv[2]), checksum=sys.argv[3])
ravdess.SPEC = dataclasses.replace(ravdess.SPEC, downloads=(fact,))
sys.argv = ["ser-hf", "corpora", "download", "ravdess", "--root", sys.argv[4], "--accept-licence"]
main()
"""


def test_a_killed_download_goes_on_where_it_was(published, tmp_path):
    fact = ravdess.SPEC.downloads[0]
    words = [sys.executable, "-c", KILLED, fact.url, str(fact.size), fact.checksum, str(tmp_path / "corpora")]
    half = fact.size // 2
    published.faults = [{"hang": half}]
    part = tmp_path / "corpora" / "ravdess.download" / f"{fact.file}.part"
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    published.waiting.wait()
    while not part.exists() or part.stat().st_size < half:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    published.release.set()
    assert not (tmp_path / "corpora" / "ravdess").exists()

    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "found 6 of 1440" in ended.stdout
    assert [(answer.start, answer.sent) for answer in published.answers] == [(0, half), (half, fact.size - half)]
    assert len(read_corpus(ravdess.SPEC, tmp_path / "corpora" / "ravdess")) == 6
