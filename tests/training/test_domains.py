"""Two corpora as source and target: their folds, their label schemes, and what they may not share."""

import dataclasses
from collections import Counter

import pytest

from ser_hf.data.columns import provenance
from ser_hf.splits.protocol import SplitError
from ser_hf.splits.split import split
from ser_hf.training.data_arguments import DomainArguments

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small")]

SYNTHETIC = ["synthetic", "synthetic_spontaneous"]
OPTIONS = DomainArguments(
    corpora=SYNTHETIC, protocols=["synthetic/kfold3", "synthetic_spontaneous/si4"], scheme="five",
    adapt_from=["synthetic"], adapt_to=["synthetic_spontaneous"], folds=[-1],
    allow_partial=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def domains(small):
    return OPTIONS.load_domains()


def test_the_folds_are_those_of_the_target_and_the_source_comes_round(domains):
    source, target = domains
    assert OPTIONS.chosen_folds(target) == [0, 1, 2, 3]
    tested, protocols = Counter(), set()
    for fold, of_its_own in enumerate([0, 1, 2, 0]):
        of_source, of_target, protocol = OPTIONS.split_domains(source, target, fold)
        protocols.add(protocol.name)
        assert OPTIONS.source_fold(source, fold) == of_its_own
        for part, rows in split(source, "synthetic/kfold3", of_its_own).items():
            assert rows["utterance_id"] == of_source[part]["utterance_id"]
        tested.update(of_target["test"]["utterance_id"])
    assert protocols == {"synthetic/kfold3 + synthetic_spontaneous/si4"}
    assert tested == Counter(target["utterance_id"]), "together the test parts are the whole target"
    back = dataclasses.replace(OPTIONS, adapt_from=OPTIONS.adapt_to, adapt_to=OPTIONS.adapt_from)
    assert back.chosen_folds(source) == [0, 1, 2], "in the other direction they are those of the other corpus"
    with pytest.raises(SplitError, match="kfold3 has no fold 3, only folds 0 to 2"):
        dataclasses.replace(back, folds=[3]).chosen_folds(source)


def test_each_domain_is_labelled_by_its_own_scheme():
    options = dataclasses.replace(OPTIONS, target_scheme="esd5", scheme="four", evaluation_map=["anger=surprise"])
    source, target = options.load_domains()
    assert source.features["label"].names == ["anger", "happiness", "neutral", "sadness"]
    assert target.features["label"].names == ["anger", "happiness", "neutral", "sadness", "surprise"]
    assert [provenance(domain)["scheme"] for domain in (source, target)] == ["four", "esd5"]
    assert options.judged_as.counts_as == {"anger": ("surprise",)}
    assert "audio_hash" in target.column_names


def test_one_scheme_named_twice_is_one_scheme(domains):
    options = dataclasses.replace(OPTIONS, target_scheme="five")
    assert options.target_scheme is None
    assert [domain["utterance_id"] for domain in options.load_domains()] == [one["utterance_id"] for one in domains]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_recording_that_is_in_both_domains_is_refused(part, domains):
    """Even where both copies are trained on: the label of one would be that of the other."""
    source, target = domains
    ours, theirs, _ = OPTIONS.split_domains(source, target, 0)
    copied, place = ours["train"][0], theirs[part][0]["utterance_id"]

    def copy(row):
        same = row["utterance_id"] == place
        return {name: copied[name] if same else row[name] for name in ("duration", "audio_hash")}

    with pytest.raises(SplitError, match="have the same audio: remove one of them"):
        OPTIONS.split_domains(source, target.map(copy), 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"protocols": ["loco"]}, "--protocols needs one for each of the corpora synthetic, .* not loco"),
     ({"target_scheme": "four", "precomputed": "cache"}, "--precomputed or --target_scheme, not both"),
     ({"adapt_to": ["synthetic"]}, "must name each of the corpora"),
     ({"evaluation_map": ["boredom"]}, "is not of the form boredom=neutral")],
)  # fmt: skip
def test_what_makes_no_two_domains_is_refused_before_anything_is_read(options, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(OPTIONS, **options)
