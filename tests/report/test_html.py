"""The page of a report: one file, nothing fetched, nothing executed, everything in it."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from predictions import FACTS, make_rows

from ser_hf.evaluation.chapters import CHAPTERS, adaptation, calibration, dimensions, fairness, robustness, selective
from ser_hf.evaluation.metrics import METRICS
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.html import FIGURES, to_html
from ser_hf.report.report import EvaluationReport

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Balanced tags, the sources of pictures and sounds, and the words."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.words = [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [(tag, value) for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def full():
    """A report with every chapter."""
    values = dict(true_arousal=[0.2, 0.4, 0.9] * 80, predicted_arousal=[0.1, 0.5, 0.7, 0.3, 0.4] * 48)
    rows = make_rows(240, gender=["female", "male"] * 120, **values)
    validation = make_rows(240, seed=5)
    validation["utterance_id"] = [f"ravdess/v{number}" for number in range(240)]
    validation["speaker"] = "heard-" + validation["speaker"]
    noisy = PredictionTable(make_rows(240, skill=1.0, seed=2), dataclasses.replace(FACTS, condition="noise:10"))
    validation = PredictionTable(validation, dataclasses.replace(FACTS, part="validation"))
    online = PredictionTable(rows, dataclasses.replace(FACTS, adaptation="online"))
    table = PredictionTable(rows, FACTS)
    return EvaluationReport.from_table(table, validation=validation, disturbed=[noisy], adapted=[table, online])


def test_every_chapter_has_a_heading_a_picture_and_its_words(full):
    page = Page(to_html(full.to_dict(), {}))
    text = " ".join(page.words)
    assert set(FIGURES) == {chapter.name for chapter in CHAPTERS}
    intervals = [calibration, selective, fairness, dimensions, adaptation, robustness]
    methods = [*(chapter.METHOD for chapter in intervals), None]
    for chapter, method in zip(CHAPTERS, methods, strict=True):
        section = full.chapters[chapter.name]
        assert chapter.heading in text
        assert chapter.meaning in text
        sentences = [line for line in chapter.to_markdown(section) if line and not line.startswith("|")]
        assert all(sentence in text for sentence in sentences)
        if method is not None:  # what is only counted has no interval
            assert f"95 % intervals over speakers. {method}." in text
            assert method in json.dumps(section), "and in the JSON"
    assert sum(tag == "img" for tag, _ in page.sources) == 1 + len(CHAPTERS)


def test_a_report_that_does_not_say_how_the_intervals_of_a_chapter_were_made_claims_nothing(full):
    conditions = {"conditions": full.chapters["robustness"]["conditions"]}
    older = dataclasses.replace(full, chapters={**full.chapters, "robustness": conditions})
    assert robustness.METHOD.replace("'", "&#39;") in to_html(full.to_dict(), {})
    assert robustness.METHOD.replace("'", "&#39;") not in to_html(older.to_dict(), {})


def test_nothing_is_fetched_and_nothing_runs(full):
    html = to_html(full.to_dict(), {full.worst_confusions[0]["example"]: b"fLaC"})
    assert all(source.startswith("data:") for _, source in Page(html).sources)
    assert "<script" not in html
    assert not re.search(r"https?://", html)


def test_the_worst_confusions_can_be_listened_to(full):
    heard = full.worst_confusions[0]["example"]
    assert "<audio" not in to_html(full.to_dict(), {})
    assert "ser-hf report RUN --roots ravdess=FOLDER" in to_html(full.to_dict(), {})
    html = to_html(full.to_dict(), {heard: b"fLaC"})
    assert [source for tag, source in Page(html).sources if tag == "audio"] == ["data:audio/flac;base64,ZkxhQw=="]


def test_a_bare_report_leaves_the_chapters_out():
    report = EvaluationReport.from_table(PredictionTable(make_rows(speaker=None), FACTS))
    text = " ".join(Page(to_html(report.to_dict(), {})).words)
    assert "no interval" in text
    assert "Under worse conditions" not in text


def test_names_are_text_and_no_markup():
    report = EvaluationReport.from_table(
        PredictionTable(make_rows(), dataclasses.replace(FACTS, model="<script>alert(1)</script>"))
    )
    html = to_html(report.to_dict(), {})
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_bar_in_the_name_of_a_group_divides_no_columns():
    rows = make_rows(240, gender=["soft|loud", "male"] * 120)
    page = to_html(EvaluationReport.from_table(PredictionTable(rows, FACTS)).to_dict(), {})
    assert "<td>soft|loud</td>" in page


def test_the_same_report_is_the_same_page(full):
    assert to_html(full.to_dict(), {}) == to_html(full.to_dict(), {})


def test_every_key_of_the_json_is_explained(full):
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page))

    def keys(value):
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield key
            yield from keys(inner)
        for inner in value if isinstance(value, list) else ():
            yield from keys(inner)

    metrics = set(METRICS)  # which carry their meaning
    found = {key.removesuffix("_interval") for key in keys(full.to_dict())} - metrics - {"ravdess", "calm", "en"}
    assert found <= explained, f"docs/report.md does not explain {sorted(found - explained)}"


def test_groups_that_are_not_judged_have_their_reason_and_no_picture():
    rows = make_rows(240, gender="female")
    rows.loc[rows["speaker"] == "ravdess-03", "gender"] = "male"
    report = EvaluationReport.from_table(
        PredictionTable(rows.query("gender == 'male' or speaker == 'ravdess-01'"), FACTS)
    )
    page = Page(to_html(report.to_dict(), {}))
    assert "one speaker" in " ".join(page.words)
    assert sum(tag == "img" for tag, _ in page.sources) == 4, "confusion, reliability, risk and coverage, recordings"
