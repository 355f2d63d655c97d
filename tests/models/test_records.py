"""The records of the families: whole, found, and shown to readers."""

import runpy
from types import SimpleNamespace

import pytest
from conftest import ROOT

from ser_hf.models import FAMILIES
from ser_hf.models.family import ModelError, model_says, resolve
from ser_hf.models.records import RECORDS


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
    assert family.tiny, "the tests of families build it"
    assert family.summary
    assert family.usage
    assert (ROOT / f"docs/models/{family.page}.md").exists()


def test_the_table_of_models_in_the_readme_agrees_with_the_records():
    table = runpy.run_path(str(ROOT / "docs/write_models.py"))["to_table"]()
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), "run python docs/write_models.py"


def test_what_a_record_lacks_is_said_in_words():
    with pytest.raises(ModelError, match=r"names 'math:sqroot', but math has no sqroot"):
        resolve("math:sqroot")
    with pytest.raises(ModelError, match="state padding_invariant=always or never"):
        model_says(SimpleNamespace(), None)
