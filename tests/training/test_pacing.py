import numpy as np
import pytest
import torch
from test_retention import CLASSES, PointClassifier, PointConfig, train
from test_retention import rows as points_of

from ser_hf.data.balance import Pace, UtteranceSampler, easiest_first
from ser_hf.models.pretrained import build_classifier
from ser_hf.training.curriculum import PacingArguments, rehearse
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

LABELS = np.repeat([0, 1, 2], [50, 30, 7])
DIFFICULTY = np.random.default_rng(0).permutation(len(LABELS)).astype(float)


def drawn(sampler, epoch):
    sampler.set_epoch(epoch)
    return np.bincount(list(sampler), minlength=len(sampler.weights))


@pytest.mark.parametrize("balanced", [False, True])
def test_only_the_easiest_share_of_each_class_is_drawn_at_first_and_everything_at_the_end(balanced):
    pace = Pace(easiest_first(DIFFICULTY, LABELS, seed=0), LABELS, start=0.3, epochs=4)
    weights = (1 / np.bincount(LABELS))[LABELS] if balanced else np.ones(len(LABELS))
    paced, plain = (UtteranceSampler(weights, 870, seed=1, pace=one) for one in (pace, None))
    before = np.zeros(len(LABELS), dtype=bool)
    for epoch, share in enumerate([0.3, 0.475, 0.65, 0.825, 1.0, 1.0]):
        counts = drawn(paced, epoch)
        for label in range(3):
            mine = np.flatnonzero(label == LABELS)
            easiest = mine[np.argsort(DIFFICULTY[mine])][: int(np.ceil(share * len(mine)))]
            assert set(np.flatnonzero(counts)) & set(mine) == set(easiest)
            expected = 870 * weights[mine].sum() / weights.sum()
            assert counts[mine].sum() == pytest.approx(expected, rel=0.02), "the balance of classes stays"
        assert (counts[before] > 0).all(), "what was heard goes on being heard"
        before = counts > 0
    assert (drawn(paced, 9) == drawn(plain, 9)).all(), "and then it is the draw without a pace"


def test_the_paced_draw_depends_on_seed_and_epoch_alone():
    pace = Pace(easiest_first(DIFFICULTY, LABELS, seed=0), LABELS, start=0.2, epochs=3)
    one, other = (UtteranceSampler(np.ones(len(LABELS)), 87, seed=7, pace=pace) for _ in "ab")
    drawn(one, 0)
    for sampler in (one, other):
        sampler.set_epoch(2)
    assert list(one) == list(other)


def test_what_is_equally_difficult_stands_in_random_order_and_not_in_that_of_the_speakers():
    places = easiest_first(np.zeros(1000), np.zeros(1000), seed=0)
    assert abs(np.corrcoef(places, np.arange(1000))[0, 1]) < 0.1
    assert sorted(places) == pytest.approx(np.arange(1000) / 1000)


def test_rehearsed_utterances_are_not_paced_and_keep_their_share(synthetic):
    current, earlier = synthetic.select(range(100)), synthetic.select(range(100, 200))
    _, weights, count = rehearse(current, [earlier], 0.5, "none")
    answers = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 100))
    pace = PacingArguments(pacing="loss", pacing_start=0.2).pace(current, 100, answers, seed=0)
    counts = drawn(UtteranceSampler(weights, count, seed=0, pace=pace), 0)
    assert (counts[100:] == 1).all()
    labels = np.asarray(current["label"])
    certain = answers[np.arange(100), labels]
    for label in range(5):
        mine = np.flatnonzero(labels == label)
        heard = certain[mine][counts[mine] > 0]
        assert len(heard) == np.ceil(0.2 * len(mine))
        assert heard.min() > certain[mine][counts[mine] == 0].max()


def test_strong_acting_comes_first_and_neutral_speech_is_of_the_middle(synthetic):
    intensity = ["weak", None, "strong", "normal", "strong"] * 20
    data = synthetic.select(range(100)).remove_columns("intensity").add_column("intensity", intensity)
    pacing = PacingArguments(pacing="intensity", pacing_start=0.01)
    pace = pacing.pace(data, 0, None, seed=0)
    for group in np.unique(pace.groups):
        mine = np.flatnonzero(pace.groups == group)
        order = [intensity[row] for row in mine[np.argsort(pace.places[mine])]]
        ranks = [{"strong": 0, "weak": 2}.get(word, 1) for word in order]
        assert ranks == sorted(ranks)
    model, _ = build_classifier("tiny-whisper", data.features["label"].names)
    pacing.check(data, model, [6])
    with pytest.raises(ValueError, match="synthetic has no intensities: use --pacing teacher"):
        pacing.check(synthetic, model, [6])
    odd = data.remove_columns("intensity").add_column("intensity", ["fierce"] * 100)
    with pytest.raises(ValueError, match=r"strong, high, .*'fierce'"):
        pacing.check(odd, model, [6])
    with pytest.raises(ValueError, match="--pacing loss needs a trained model or a second stage"):
        PacingArguments(pacing="loss").check(data, model, [6])
    PacingArguments(pacing="loss").check(data, model, [6, 6])
    with pytest.raises(ValueError, match="--pacing_epochs must be at most 4, not 5"):
        pacing.check(data, model, [6, 5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pacing": "teacher"}, "need each other"),
        ({"pacing": "loss", "pacing_teacher": "runs/one"}, "need each other"),
        ({"pacing": "age"}, "--pacing must be one of none, teacher, loss, intensity, not 'age'"),
        ({"pacing_start": 0.0}, "--pacing_start must be in"),
        ({"pacing_epochs": 0.0}, "--pacing_epochs must be above 0, not 0.0"),
    ],
)
def test_a_pace_that_says_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PacingArguments(**options)


def test_a_killed_and_resumed_training_hears_what_an_unbroken_one_hears(tmp_path):
    data = points_of(1)
    labels = np.asarray(data["label"])
    pace = Pace(easiest_first(np.arange(96.0), labels, seed=0), labels, start=0.25, epochs=2)
    heard = {}

    def run(folder, name, **options):
        heard[name] = []

        class Paced(SERTrainer):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, pace=pace, **kwargs)

            def _prepare_inputs(self, inputs):
                heard[name].append((self.state.global_step, tuple(inputs["utterance_id"])))
                return super()._prepare_inputs(inputs)

        torch.manual_seed(0)
        model = PointClassifier(PointConfig(num_labels=CLASSES))
        train(model, folder, data, kind=Paced, num_train_epochs=3, save_strategy="steps", save_steps=1,
              save_total_limit=99, **options)  # fmt: skip

    run(tmp_path / "one", "unbroken")
    assert len(heard["unbroken"]) == 9
    first = [name for _, names in heard["unbroken"][:3] for name in names]
    assert len(first) == 96, "an epoch stays as long as it was"
    assert set(first) == {f"1/{number}" for number in range(24)}, "the easiest quarter of each class"
    assert len({name for _, names in heard["unbroken"][6:] for name in names}) == 96
    run(tmp_path / "one", "resumed", resume=str(tmp_path / "one/checkpoint-4"))
    assert heard["resumed"] == heard["unbroken"][4:]


def test_mixtures_are_refused_beside_a_pace(synthetic, tmp_path):
    data = synthetic.select(range(20))
    model, extractor = build_classifier("tiny-whisper", data.features["label"].names)
    pace = Pace(np.zeros(20), np.zeros(20), 0.5, 1)

    class Paced(SERTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, pace=pace, **kwargs)

    with pytest.raises(ValueError, match="--augment mixup or --pacing, not both"):
        train(model, tmp_path, data, kind=Paced, extractor=extractor, augment=["mixup=0.2"])
    with pytest.raises(ValueError, match="--augment mixup or --weight_corpora, not both"):
        train(model, tmp_path, data, kind=SERTrainer, extractor=extractor, augment=["mixup=0.2"], weight_corpora=True)
