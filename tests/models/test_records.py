"""The records of the families: whole, found, and shown to readers."""

import runpy
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import ROOT

from ser_hf.models import FAMILIES
from ser_hf.models.auto import register
from ser_hf.models.family import Family, ModelError, model_says, resolve
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.records import RECORDS, family_for


def test_every_family_is_one_folder_with_a_record():
    folders = {path.parent.name for path in (ROOT / "ser_hf/models").glob("*/record.py")}
    assert set(FAMILIES) == folders
    for name in FAMILIES:
        assert (ROOT / "ser_hf/models" / name / "__init__.py").exists(), "without it no test of the folder is collected"


@pytest.mark.parametrize("family", RECORDS, ids=lambda family: family.name)
def test_what_a_record_names_is_there(family):
    references = [
        family.config_class,
        family.model_class,
        family.extractor_class,
        family.builder,
        family.is_architecture,
    ]
    assert all(callable(resolve(reference)) for reference in references if reference)
    assert resolve(family.config_class).model_type == family.model_type


@pytest.mark.parametrize("family", [one for one in RECORDS if one.builder], ids=lambda family: family.name)
def test_a_family_that_is_built_has_a_tiny_instance_and_a_page(family):
    record = f"the record of the family {family.name}"
    assert family.tiny, f"{record} needs tiny, arguments of build_classifier for a small instance: the tests build it"
    assert family.summary, f"{record} needs summary, a line for the table of models in the README"
    assert family.usage, f"{record} needs usage, values of --model_name_or_path for the table of models in the README"
    page = f"docs/models/{family.page or family.name}.md"
    assert family.page, f"{record} needs page: write a few lines in {page}, and name the page there without .md"
    assert (ROOT / page).exists(), f"write a few lines in {page}, which {record} names"


def test_the_table_of_models_in_the_readme_agrees_with_the_records():
    table = runpy.run_path(str(ROOT / "docs/write_models.py"))["to_table"]()
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), "run python docs/write_models.py"


def test_the_table_of_models_is_not_written_for_a_family_without_a_page():
    functions = runpy.run_path(str(ROOT / "docs/write_models.py"))["to_table"].__globals__
    functions["RECORDS"] = [replace(RECORDS[0], page="", name="made")]
    with pytest.raises(SystemExit, match=r"the family made has no page: write docs/models/made\.md, and name it in"):
        functions["to_table"]()


@pytest.mark.parametrize(
    ("tiny", "message"),
    [
        ({"name_or_path": "cnn", "channels": [8]}, "has 'channels': it takes name_or_path, .* stand in \"settings\""),
        ({"settings": {}}, "has no 'name_or_path': it takes"),
    ],
)
def test_a_tiny_that_build_classifier_does_not_take_is_refused_with_an_example(tiny, message):
    with pytest.raises(ModelError, match=f"tiny of the family {RECORDS[0].name} {message}"):
        replace(RECORDS[0], tiny=tiny)


MADE = """
from transformers import PreTrainedConfig, PreTrainedModel, Wav2Vec2FeatureExtractor
{first}
class MadeConfig(PreTrainedConfig):
    model_type = "ser_made"
class MadeForAudioClassification(PreTrainedModel):
    {second}
class MadeFeatureExtractor(Wav2Vec2FeatureExtractor):
    pass
"""


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("", "pass", "MadeForAudioClassification of the family made .* write config_class = MadeConfig in the class"),
        (
            "from ..models.family import Family",
            "config_class = MadeConfig",
            r"modeling_made\.py of the family made imports from \.\.models\.family, but it travels .* siblings",
        ),
    ],
)
def test_a_family_that_cannot_be_saved_is_refused_when_it_is_registered(first, second, message, monkeypatch, tmp_path):
    (tmp_path / "modeling_made.py").write_text(MADE.format(first=first, second=second), encoding="utf-8")
    monkeypatch.setattr("ser_hf.features.__path__", [str(tmp_path)])
    module = "ser_hf.features.modeling_made"
    monkeypatch.delitem(sys.modules, module, raising=False)
    family = Family(
        name="made", summary="", model_type="ser_made", config_class=f"{module}:MadeConfig", builder="",
        model_class=f"{module}:MadeForAudioClassification", extractor_class=f"{module}:MadeFeatureExtractor",
    )  # fmt: skip
    with pytest.raises(ModelError, match=message):
        register(family)


@pytest.mark.parametrize("field", ["emotion_layer", "logits"])
def test_a_record_that_does_not_name_the_layer_of_the_logits_is_told_when_the_model_is_built(field, monkeypatch):
    family = family_for("cnn", None, {})
    wrong = replace(family, **{field: {"emotion_layer": "head", "logits": ("head.weight", "head.bias")}[field]})
    monkeypatch.setattr("ser_hf.models.records.RECORDS", [wrong])
    with pytest.raises(ModelError, match=r"HybridStacked.*has no .*head.*record of the family.*logits"):
        build_classifier("cnn", ["anger", "fear"])


def test_what_a_record_lacks_is_said_in_words():
    with pytest.raises(ModelError, match=r"names 'math:sqroot', but math has no sqroot"):
        resolve("math:sqroot")
    with pytest.raises(ModelError, match="state padding_invariant=always or never"):
        model_says(SimpleNamespace(), None)
