import dataclasses

import matplotlib.pyplot
import numpy as np
import pytest
from predictions import CLASSES, FACTS, make_rows

from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.curves import training_figure
from ser_hf.report.figures import confusion_figure, save_figure
from ser_hf.report.report import EvaluationReport


def make_report(rows=None, **facts):
    return EvaluationReport.from_table(
        PredictionTable(make_rows() if rows is None else rows, dataclasses.replace(FACTS, **facts))
    )


def test_the_picture_holds_every_count_and_the_share_of_its_true_class():
    rows = make_rows(3000, skill=0.5)
    report = make_report(rows[(rows["label"] != "anger") | (rows.index % 2 == 0)])  # classes of different sizes
    (axes,) = confusion_figure(report.to_dict()).axes
    counts = np.asarray(report.confusion)
    assert counts.min() > 0
    shares = counts / counts.sum(axis=1, keepdims=True)
    words = [text.get_text() for text in axes.texts]
    assert [int(word) for word in words[1:-1:2]] == counts.ravel().tolist()
    assert words[0:-1:2] == [f"{100 * share:.0f} %" for share in shares.ravel()]
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)


def test_the_picture_says_what_it_shows_and_nothing_is_cut_off():
    """However long the protocol's name, and in particular that the speech is synthetic."""
    figure = confusion_figure(
        make_report(protocol=" + ".join(["synthetic_spontaneous/si4"] * 4), synthetic=True).to_dict()
    )
    (axes,) = figure.axes
    report = make_report()
    assert axes.get_title(loc="left") == f"UAR {report.rate('uar')}"
    small_print = axes.texts[-1]
    assert "over 12 speakers, n = 120" in small_print.get_text().replace("\n", " ")
    assert "SYNTHETIC speech" in small_print.get_text().replace("\n", " ")

    figure.draw_without_rendering()
    paper = figure.bbox
    for text in (axes.title, axes._left_title, small_print):
        box = text.get_window_extent()
        assert box.x1 <= paper.x1
        assert box.y1 <= paper.y1
    assert small_print.get_window_extent().y1 < axes._left_title.get_window_extent().y0, "lines do not overlap"


def test_a_class_without_utterances_is_no_row_of_zeros():
    rows = make_rows()
    (axes,) = confusion_figure(make_report(rows[rows["label"] != "sadness"]).to_dict()).axes
    assert "no test utterances" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: confusion_figure(make_report().to_dict()),
        lambda: training_figure([{"epoch": epoch, "loss": 1 / epoch, "eval_uar": 0.5} for epoch in (1, 2)]),
    ],
    ids=["confusion", "training"],
)
def test_the_style_of_the_caller_does_not_change_the_picture(draw, tmp_path):
    save_figure(draw(), tmp_path / "plain.png")
    with matplotlib.pyplot.style.context(["dark_background", {"font.size": 20, "savefig.dpi": 30}]):
        save_figure(draw(), tmp_path / "styled.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()
