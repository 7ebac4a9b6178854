"""Where a finding is: the user's very expression, the library line that made the call, and an id that stays."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from tensorwatch_guard.words import Finding

columns = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 keeps no columns")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes and imports a module of the user's, or of a library where a folder is named."""
    made: list[str] = []

    def make(text: str, name: str = "users_script", folder: str = "") -> ModuleType:
        home = tmp_path / folder
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(home))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def found(call: Callable[[], Any]) -> list[Finding]:
    with guard(report=False) as g:
        call()
    return list(g.report.findings)


def read_in(module: ModuleType) -> list[Finding]:
    return found(lambda: module.run(torch.ones(1)))


# -- the expression ------------------------------------------------------------------------------------------------------

EXPRESSIONS = {
    "a name": ("t.item()", "t.item()"),
    "in the midst": ("print(1, t.item(), 2, file=NULL)", "t.item()"),
    "a conversion": ("x = 1 + float(t)", "float(t)"),
    "beyond ASCII": ('x = {"größe": t}; y = "ü" * int(x["größe"])', 'int(x["größe"])'),
    "wide letters": ('"😀漢", t.item()', "t.item()"),
    "an f-string": ('f"{t}"', "{t}" if sys.version_info >= (3, 12) else 'f"{t}"'),
    "on two lines": ("float(\n        t)", "float( t)"),
    "on three lines": ("bool(\n        t[\n   0])", "bool( t[ 0])"),
    "a condition": ("x = not t", "not t"),
    "an if": ("if t.all(): pass  # and why", "t.all()"),
    "an if with a body": ("if t.all():  # and why\n        pass", "t.all()"),
    "an if that denies": ("if not t.all():  # and why\n        pass", "not t.all()"),
    "an if of two": ("if NULL and t.all():\n        pass", "t.all()" if sys.version_info >= (3, 12) else "NULL and t.all()"),
    "a while": ("while t.all():\n        break", "t.all()"),
    "an assertion": ("assert t.all(), 'none'", "t.all()"),
    "in a comprehension": ("[k.item() for k in [t]]", "k.item()"),
}  # fmt: skip


@columns
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_text_and_the_columns_are_those_of_the_expression(
    name: str, module: Callable[..., ModuleType], tmp_path: Path
) -> None:
    text, wanted = EXPRESSIONS[name]
    users = module(f"import io\nNULL = io.StringIO()\ndef run(t):\n    {text}\n")
    (finding,) = read_in(users)
    site = finding.site
    assert site is not None
    assert (site.file, site.line, site.source) == (str(tmp_path / "users_script.py"), 4, wanted)
    assert site.function.startswith("run")
    lines = (tmp_path / "users_script.py").read_text(encoding="utf-8").splitlines()
    assert site.end_line == 4 + wanted.count(" ") * ("lines" in name)
    assert lines[3][site.column :].startswith(wanted.split(" ")[0])
    assert lines[site.end_line - 1][: site.end_column].endswith(wanted.split(" ")[-1])


def test_the_site_of_a_method_names_its_class(module: Callable[..., ModuleType]) -> None:
    users = module("class Trainer:\n    def fit(self, t):\n        t.item()\ndef run(t):\n    Trainer().fit(t)\n")
    (finding,) = read_in(users)
    assert finding.site is not None
    assert finding.site.function == ("Trainer.fit" if sys.version_info >= (3, 11) else "fit")


# -- what cannot be read -------------------------------------------------------------------------------------------------


def test_code_from_exec_is_the_users_and_has_no_text() -> None:
    space = {"t": torch.ones(1)}
    (finding,) = found(lambda: exec("x = 1\nx + t.item()", space))
    assert finding.site is not None
    assert (finding.site.file, finding.site.line, finding.site.source) == ("<string>", 2, None)
    assert finding.origin is None


def test_a_file_that_is_gone_gives_a_site_without_text(module: Callable[..., ModuleType], tmp_path: Path) -> None:
    users = module("def run(t):\n    t.item()\n")
    (tmp_path / "users_script.py").unlink()
    (finding,) = read_in(users)
    assert finding.site is not None
    assert (finding.site.line, finding.site.source) == (2, None)


def test_a_file_that_is_no_text_gives_a_site_without_text(tmp_path: Path) -> None:
    file = tmp_path / "users_script.py"
    file.write_bytes(b"\xff\xfe\x00\x80" * 8)
    code = compile("t.item()", str(file), "exec")
    (finding,) = found(lambda: exec(code, {"t": torch.ones(1)}))
    assert finding.site is not None
    assert (finding.site.line, finding.site.source) == (1, None)


@columns
def test_places_on_one_line_that_cannot_be_read_stay_apart() -> None:
    space = {"t": torch.ones(1)}
    first, second = found(lambda: exec("t.item() + t.item()", space))
    assert first.id != second.id
    assert first.site is not None
    assert second.site is not None
    assert (first.site.column, second.site.column) == (0, 11)


# -- origins -------------------------------------------------------------------------------------------------------------

LIBRARY = """
def fit(loss, times, then=None):
    for _ in range(times):
        first = loss.item()
        second = loss.item()
        if then is not None:
            then()
    return first + second
"""


@pytest.fixture
def library(module: Callable[..., ModuleType]) -> ModuleType:
    return module(LIBRARY, "tinyfit_of_this_test", "venv/lib/site-packages")


def test_two_library_lines_under_one_line_of_the_users_stay_two_findings(library: ModuleType) -> None:
    loss = torch.ones(1)
    first, second = found(lambda: library.fit(loss, 3))
    assert (first.count, second.count) == (3, 3)
    assert first.site == second.site
    assert first.site is not None
    assert Path(first.site.file) == Path(__file__)
    assert first.origin is not None
    assert second.origin is not None
    assert (first.origin.line, second.origin.line) == (4, 5)
    assert Path(first.origin.file).name == "tinyfit_of_this_test.py"
    assert first.id != second.id


def test_two_lines_of_the_users_that_call_one_library_line_stay_two_findings(library: ModuleType) -> None:
    loss = torch.ones(1)

    def run() -> None:
        library.fit(loss, 1)
        library.fit(loss, 1)

    findings = found(run)
    assert [finding.count for finding in findings] == [1, 1, 1, 1]
    assert len({finding.id for finding in findings}) == 4


def test_a_call_back_of_the_users_is_the_site_and_has_no_origin(library: ModuleType) -> None:
    loss = torch.ones(1)

    def then() -> None:
        loss.tolist()

    read = [finding for finding in found(lambda: library.fit(loss, 2, then)) if finding.origin is None]
    assert [(finding.op, finding.count) for finding in read] == [("Tensor.tolist", 2)]


def test_what_torch_does_inside_has_torchs_caller_for_origin(library: ModuleType) -> None:
    module = torch.nn.Linear(2, 2)
    state = module.state_dict()
    (finding,) = found(lambda: torch.testing.assert_close(state["weight"], state["weight"]))
    assert finding.site is not None
    assert finding.site.line == sys._getframe().f_lineno - 2
    assert finding.origin is None


def test_a_folder_that_is_only_called_like_it_is_the_users(module: Callable[..., ModuleType]) -> None:
    users = module("def run(t):\n    t.item()\n", "users_script", "my-site-packages-copy")
    (finding,) = read_in(users)
    assert finding.origin is None
    assert finding.site is not None
    assert Path(finding.site.file).name == "users_script.py"


# -- ids -----------------------------------------------------------------------------------------------------------------

PROGRAM = """
def run(t):
    t.item()
    float(t); t.item()
    x = t.item(); "ü" * 9, t.item()
    float(
        t)
    float(
        t)
"""


def ids(users: ModuleType) -> list[tuple[str, str]]:
    return [(finding.id, finding.op) for finding in read_in(users)]


@columns
def test_equal_expressions_of_one_function_have_ids_of_their_own(module: Callable[..., ModuleType]) -> None:
    known = ids(module(PROGRAM))
    assert len(known) == 7
    assert len(set(known)) == 7
    assert len({name for name, _ in known}) == 7


def test_ids_stay_when_lines_move(module: Callable[..., ModuleType]) -> None:
    before = ids(module(PROGRAM))
    assert ids(module("# a comment\n\n\nimport math\n" + PROGRAM)) == before
    assert ids(module(PROGRAM.replace("def run(t):", "def run(t):\n    math = 1"))) == before


def test_ids_change_with_what_they_name(module: Callable[..., ModuleType]) -> None:
    text = "def run(t):\n    {}.item()\n"
    one, two = ids(module(text.format("t"))), ids(module(text.format("(t)")))
    moved = ids(module(text.format("t"), "another_script"))
    inner = ids(module("def run(t):\n    def deeper():\n        t.item()\n    deeper()\n"))
    names = [known[0][0] for known in (one, two, moved, inner)]
    assert len(set(names)) == (4 if sys.version_info >= (3, 11) else 3)


def test_the_working_folder_is_no_part_of_an_id(
    module: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = []
    for folder in ("here", "elsewhere"):
        users = module("def run(t):\n    t.item()\n", folder=folder)
        monkeypatch.chdir(tmp_path / folder)
        known.append(ids(users))
    assert known[0] == known[1]
