"""Who may import whom, what travels to the Hub, and what starts without torch."""

import ast
import inspect
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ser_hf

PACKAGE = Path(ser_hf.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
RECIPES = sorted((PACKAGE.parent / "recipes").glob("*.py"))
FOLDERS = [PACKAGE, *(path.parent for path in MODULES if path.name == "__init__.py" and path.parent != PACKAGE)]
# Of a family's folder its record and its builder stay at home.
AT_HOME = ("__init__.py", "record.py", "builder.py")
TRAVELLING = [
    *(file for file in PACKAGE.glob("features/*.py") if file.name != "__init__.py"),
    *(file for file in PACKAGE.glob("models/*/*.py") if file.name not in AT_HOME),
]

# From the ground up: a part may import those that are named on its line, and itself.
ALLOWED = {
    "audio": set(),
    "emotions": set(),
    "extras": set(),
    "files": set(),
    "options": {"emotions", "extras", "files"},
    "fingerprint_index": set(),
    "fingerprint": {"audio", "fingerprint_index"},
    "fingerprint_mark": {"fingerprint", "fingerprint_index"},
    "augmentation": {"audio", "emotions"},
    "sources": {"audio", "emotions", "extras", "files"},
    "corpora": {"sources", "emotions"},
    "features": set(),
    "models": {"features", "files"},
    "data": {
        "sources", "corpora", "emotions", "audio", "extras", "files", "fingerprint", "fingerprint_mark", "augmentation",
        "models.family", "models.records",
    },
    "splits": {"data", "sources", "corpora", "emotions", "files", "fingerprint", "fingerprint_mark", "audio"},
    "evaluation": {"emotions", "files", "splits"},
    "report": {"evaluation", "splits", "files", "emotions", "extras"},
}  # fmt: skip
ABOVE = list(ALLOWED)
ALLOWED["inspection"] = {part for part in ABOVE if part not in ("models", "features")}
ALLOWED["export"] = {"models", "features", "files", "evaluation"}
ALLOWED["inference"] = {*ABOVE, "inspection", "export"}
ALLOWED["hub"] = {"report", "evaluation", "splits", "data", "corpora", "models", "files"}
ALLOWED["training"] = {*ABOVE, "inspection", "export", "inference", "hub"}
ALLOWED["cli"] = {*ALLOWED["training"], "training"}
ALLOWED["__init__"] = ALLOWED["cli"]


def imported(module: Path):
    """Modules of ser_hf that a file imports, as (part.sub...) relative to the package, types included."""
    where = module.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = where[: len(where) - node.level]
            yield ".".join((*base, *(node.module or "").split("."))).strip(".")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ser_hf."):
            yield node.module.removeprefix("ser_hf.")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_its_part_may(module):
    part = module.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imported(module):
        top = name.split(".")[0]
        allowed = top == part or any(name == other or name.startswith(f"{other}.") for other in ALLOWED[part])
        assert allowed, f"{part} may not import {name}"


def test_no_module_imports_itself_through_others():
    """Types included: whoever reads one file can put it aside before the next."""
    graph = {module.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): set() for module in MODULES}
    for module in MODULES:
        name = module.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        graph[name] = {other for other in imported(module) if other in graph}
    assert tuple(TopologicalSorter(graph).static_order())  # raises a CycleError that names the circle


@pytest.mark.parametrize("module", [*MODULES, *RECIPES], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_has_at_most_400_lines(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_folder_can_be_surveyed(folder):
    """At most 15 modules, but for the corpora and the commands; none is called like a folder or file beside it."""
    modules = [file.stem for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert len(modules) <= 15 or folder.name in ("corpora", "cli")
    beside = [*modules, *(path.name for path in folder.iterdir() if path.is_dir())]
    for name in modules:
        assert beside.count(name) == 1, name
        assert f"{name}s" not in beside, f"{name} stands beside {name}s"


@pytest.mark.parametrize("module", TRAVELLING, ids=lambda path: path.name)
def test_what_travels_to_the_hub_imports_only_siblings_and_third_parties(module):
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            what = (
                f"{module.relative_to(PACKAGE)}, line {node.lineno} imports from {'.' * node.level}{node.module or ''}"
            )
            rule = "it travels to the Hub beside the weights: import only third parties and siblings (from .x import y)"
            assert node.level <= 1, f"{what}, but {rule}"
            assert not (node.module or "").startswith("ser_hf"), f"{what}, but {rule}"


@pytest.mark.parametrize("module", TRAVELLING, ids=lambda path: path.name)
def test_what_travels_to_the_hub_demands_no_package_that_only_some_models_need(module):
    from transformers.dynamic_module_utils import get_imports  # what a stock pipeline refuses to go without

    demanded = set(get_imports(module)) - sys.stdlib_module_names
    assert demanded <= {"huggingface_hub", "numpy", "torch", "transformers"}


@pytest.mark.parametrize(
    "statement", ["import ser_hf", "import ser_hf; ser_hf.list_corpora()", "import ser_hf.cli.main"]
)
def test_starting_imports_neither_torch_nor_transformers(statement):
    script = (
        f"import sys; {statement}; sys.exit(' '.join({{'torch', 'transformers', 'datasets'}} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_public_names_are_there():
    """Each is found, is a part of the package, and is known to type checkers by the file that lists them."""
    assert {"load_corpus", "split", "build_classifier", "Classifier", "evaluate", "EvaluationReport", "push"} <= set(
        ser_hf.__all__
    )
    for name in ser_hf.__all__:
        value = getattr(ser_hf, name)
        assert name == "METRICS" or value.__module__.startswith("ser_hf."), name
    assert (PACKAGE / "py.typed").exists()
    with pytest.raises(AttributeError, match="nothing"):
        ser_hf.nothing  # noqa: B018


@pytest.mark.parametrize("name", [name for name in ser_hf.__all__ if name != "METRICS"])
def test_what_is_public_has_type_hints(name):
    value = getattr(ser_hf, name)
    functions = {name: value}
    if inspect.isclass(value):
        functions = {
            f"{name}.{method}": function.__func__ if isinstance(function, classmethod | staticmethod) else function
            for method, function in vars(value).items()
            if not method.startswith("_")
        }
    for named, function in functions.items():
        if inspect.isfunction(function):
            signature = inspect.signature(function)
            hints = [one.annotation for one in signature.parameters.values() if one.name not in ("self", "cls")] + [
                signature.return_annotation
            ]
            assert inspect.Signature.empty not in hints, f"{named}{signature}"
