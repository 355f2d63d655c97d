import pytest

from ser_hf import build_dataset, load_corpus
from ser_hf.audio import AudioError, read_audio
from ser_hf.corpora import CorpusError
from ser_hf.data.columns import provenance
from ser_hf.emotions import EMOTIONS, SCHEMES, _add_schemes, _declared, get_scheme


def test_the_embedded_corpus_has_the_unified_columns_and_says_that_it_is_synthetic(synthetic):
    assert synthetic.column_names == [
        "utterance_id", "corpus", "language", "speaker", "gender", "age", "session", "statement", "intensity", "part",
        "native_label", "emotion", "label", "label_source", "votes", "arousal", "valence", "dominance", "duration",
        "audio",
    ]  # fmt: skip
    assert set(synthetic["label_source"]) == {"synthetic"}
    row = synthetic[0]
    assert row["speaker"].startswith("synthetic-")
    assert row["session"] is None
    assert len(read_audio(row["audio"])) == pytest.approx(row["duration"] * 16_000, abs=1)


def test_dropped_utterances_are_counted(miniature):
    dataset = load_corpus("ravdess", miniature("ravdess"), "crema6", allow_partial=True)
    facts = provenance(dataset)
    assert facts["scheme"] == "crema6"
    assert facts["dropped"] == {"ravdess": {"calm": 1, "surprise": 1}}
    assert facts["partial"]["ravdess"].startswith("found 6 of 1440 utterances")
    assert len(dataset) == 4


def test_speakers_of_two_corpora_never_meet(miniature):
    roots = {name: miniature(name) for name in ("emodb", "ravdess")}
    dataset = build_dataset(list(roots), roots, "five", allow_partial=True)
    assert {speaker.split("-")[0] for speaker in dataset["speaker"]} == {"emodb", "ravdess"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corpora": []}, "name at least one corpus"),
        ({"corpora": ["emodb", "emodb"]}, "named twice"),
        ({"corpora": ["synthetic"], "roots": {"emodb": "."}}, "but the corpora are only"),
        ({"corpora": ["synthetic", "synthetic_spontaneous"]}, "name a label scheme"),
        ({"corpora": ["synthetic"], "roots": {"synthetic": "nowhere"}}, "no folder nowhere"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(arguments, message):
    with pytest.raises(CorpusError, match=message):
        build_dataset(**arguments)
    with pytest.raises(ValueError, match="did you mean 'four'"):
        get_scheme("fuor")


def test_an_undecodable_recording_is_named(miniature):
    root = miniature("emodb")
    (root / "wav/03a01Fa.wav").write_bytes(b"no sound at all" * 100)
    with pytest.raises(AudioError, match=r"03a01Fa\.wav"):
        load_corpus("emodb", root, allow_partial=True)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_every_scheme_reaches_each_of_its_classes_and_no_other(scheme):
    reached = {scheme.to_class(emotion) for emotion in EMOTIONS} - {None}
    assert reached == set(scheme.classes)
    assert list(scheme.classes) == sorted(scheme.classes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('SCHEMES = {"two": {"anger", "fear"}}', r"SCHEMES is .*: write a tuple of words for each scheme, such as"),
        ('SCHEMES = {"one": ("anger")}', "SCHEMES is .*: write a tuple of words for each scheme"),
        (
            'NEW_EMOTIONS = ("awe")',
            r"NEW_EMOTIONS is 'awe': write a tuple of words, such as NEW_EMOTIONS = \(\"awe\",\)",
        ),
        ("NEW_EMOTIONS = WORDS", "NEW_EMOTIONS is WORDS: write a plain literal, without names or calls"),
    ],
)
def test_another_form_in_a_corpus_file_is_refused_with_the_file_and_what_to_write(line, message, tmp_path):
    (tmp_path / "made.py").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"made\.py: {message}"):
        _declared(tmp_path)


def test_words_of_corpus_files_are_read_with_a_type_hint_and_beside_a_file_that_is_no_python(tmp_path):
    (tmp_path / "made.py").write_text('NEW_EMOTIONS: tuple[str, ...] = ("awe",)', encoding="utf-8")
    (tmp_path / "broken.py").write_text("NEW_EMOTIONS = (", encoding="utf-8")
    assert _declared(tmp_path) == {"NEW_EMOTIONS": {"made": ("awe",)}}


@pytest.mark.parametrize("name", ["four", "made2", "own"])
def test_a_scheme_with_a_name_that_is_taken_by_other_classes_is_refused(name):
    schemes = dict(SCHEMES)
    _add_schemes(schemes, {"made": {"made2": ("anger", "fear")}, "same": {"made2": ("anger", "fear")}})
    with pytest.raises(ValueError, match=rf"corpora/other\.py: .*'{name}' in SCHEMES has .* such as 'other2'"):
        _add_schemes(schemes, {"other": {name: ("anger", "sadness")}})


@pytest.mark.real
@pytest.mark.parametrize(
    ("corpus", "scheme", "kept"),
    [("ravdess", "ravdess8", 1440), ("ravdess", "crema6", 1056), ("ravdess", "crema6_merged", 1248),
     ("emodb", "emodb7", 535), ("nemo", "nemo6", 1990)],
)  # fmt: skip
def test_schemes_keep_the_published_numbers_of_utterances(corpus, scheme, kept, shared):
    dataset = load_corpus(corpus, shared / "corpora" / corpus, scheme, allow_partial=corpus == "nemo")
    dropped = provenance(dataset)["dropped"][corpus]
    assert len(dataset) == kept
    assert kept + sum(dropped.values()) == {"ravdess": 1440, "emodb": 535, "nemo": 1990}[corpus]
