"""``warn`` warns at the user's line, the logger tells the first of a place and then powers of ten; nothing twice."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import GuardViolation, TensorWatchWarning, allow, guard

if TYPE_CHECKING:
    from pathlib import Path


def read() -> float:
    return torch.ones(1).item()


READ_LINE = read.__code__.co_firstlineno + 1


def test_a_warning_is_shown_at_the_users_line_once_a_place() -> None:
    with guard(read="warn", report=False), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in range(5):
            read()
    assert [(one.category, one.filename, one.lineno) for one in shown] == [(TensorWatchWarning, __file__, READ_LINE)]
    text = str(shown[0].message)
    assert text.startswith("torch.ones(1).item(): the host reads a CPU tensor (Tensor.item); ")
    assert text.endswith("TWG231")
    assert "\n" not in text


def test_the_usual_filters_choose() -> None:
    with guard(read="warn", report=False), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=TensorWatchWarning)
        read()
    assert shown == []


def test_a_filter_that_makes_it_an_error_raises_at_the_users_call() -> None:
    with guard(read="warn", report=False) as g, warnings.catch_warnings():
        warnings.simplefilter("error", TensorWatchWarning)
        with pytest.raises(TensorWatchWarning, match="TWG231"):
            read()
    assert g.violation is None
    assert g.report.notices == ()


def test_a_warning_made_an_error_in_another_thread_is_raised_at_the_exit() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TensorWatchWarning)
        with pytest.raises(TensorWatchWarning), guard(refusal="warn", report=False):
            thread = threading.Thread(target=_refused)
            thread.start()
            thread.join()


def _refused() -> None:
    try:
        torch.ones(2).item()
    except RuntimeError:
        return


def test_by_default_no_warning_is_given_whatever_happens() -> None:
    weight = torch.ones(3, requires_grad=True)
    with guard(report=False), warnings.catch_warnings():
        warnings.simplefilter("error")
        array = np.ones(3, dtype=np.float32)
        data = torch.from_numpy(array)
        loss = (data * weight).sum()
        torch.equal(data, data.clone())
        array[0] = 5
        loss.backward()


def test_a_write_is_warned_of_when_its_story_is_whole() -> None:
    t = torch.zeros(3)
    with guard(mutation="warn", report=False) as g, warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        a = t.numpy()
        a[0] = 1
        g.check()
    assert len(shown) == 1
    assert "copy where it is shared: t.numpy().copy()" in str(shown[0].message)


def test_a_write_that_a_call_back_saw_is_warned_of_at_the_exit() -> None:
    def work(t: torch.Tensor) -> None:
        a = t.numpy()
        a[0] = 1

    seen_by_others = torch.zeros(3)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with guard(mutation="warn", report=False):
            work(seen_by_others)
    assert [(one.filename, "NumPy wrote" in str(one.message)) for one in shown] == [(__file__, True)]


def test_the_users_own_registries_are_left_alone() -> None:
    before = globals().get("__warningregistry__", {}).copy()
    with guard(read="warn", report=False), warnings.catch_warnings():
        warnings.simplefilter("default")
        read()
    assert globals().get("__warningregistry__", {}) == before


def test_what_is_allowed_is_not_warned_of() -> None:
    with guard(read="warn", report=False), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with allow("read"):
            read()
        read()  # the first one outside
    assert len(shown) == 1


def test_records_are_of_the_first_and_of_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tensorwatch_guard")
    with guard(report=False):
        for _ in range(25):
            read()
        torch.zeros(2).numpy()
    texts = [(record.levelno, record.kind, record.count) for record in caplog.records]  # type: ignore[attr-defined]
    assert texts == [(logging.INFO, "read", 1), (logging.INFO, "read", 10), (logging.INFO, "alias", 1)]
    first = caplog.records[0]
    assert (first.site_file, first.site_line, first.rule) == (__file__, READ_LINE, "TWG231")  # type: ignore[attr-defined]
    assert f":{READ_LINE} in read: " in first.getMessage()


def test_a_kind_that_warns_is_not_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tensorwatch_guard")
    with guard(read="warn", report=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read()
    assert caplog.records == []


def test_a_kind_that_raises_is_not_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tensorwatch_guard")
    with guard(read="error", report=False), pytest.raises(GuardViolation):
        read()
    assert caplog.records == []


def test_a_handler_that_reads_tensors_itself_is_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    class Reads(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            read()

    logger, handler = logging.getLogger("tensorwatch_guard"), Reads()
    caplog.set_level(logging.INFO, logger="tensorwatch_guard")
    logger.addHandler(handler)
    try:
        with guard(report=False) as g:
            torch.zeros(2).numpy()
    finally:
        logger.removeHandler(handler)
    assert g.report.reads == ()


STALE = """
import sys, numpy as np, torch
from tensorwatch_guard import guard
SETUP
weight = torch.ones(3, requires_grad=True)
with guard(report=False):
    for _ in range(3):
        array = np.ones(3, dtype=np.float32)
        data = torch.from_numpy(array)
        loss = (data * weight).sum()
        torch.equal(data, data.clone())
        array[0] = 5
        loss.backward()
"""


def errors_of(tmp_path: Path, setup: str = "") -> list[str]:
    file = tmp_path / "train.py"
    file.write_text(STALE.replace("SETUP", setup))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_a_hazard_is_told_at_once_on_stderr_where_nobody_set_logging_up(tmp_path: Path) -> None:
    lines = errors_of(tmp_path)
    assert len(lines) == 1
    assert "train.py:13: loss.backward(): " in lines[0]
    assert lines[0].startswith("tensorwatch_guard: ")
    assert lines[0].endswith("TWG501")


def test_a_hazard_goes_where_the_user_sends_records(tmp_path: Path) -> None:
    setup = "import logging; logging.basicConfig(stream=sys.stdout, format='%(name)s %(levelname)s')"
    assert errors_of(tmp_path, setup) == []


@pytest.mark.parametrize("level", ["off", "warn"])
def test_a_hazard_with_a_level_of_its_own_is_not_told_this_way(level: str, caplog: pytest.LogCaptureFixture) -> None:
    weight = torch.ones(3, requires_grad=True)
    options: dict[str, Any] = {"hazard": level}
    with warnings.catch_warnings(record=True) as shown, guard(report=False, **options):
        warnings.simplefilter("always")
        array = np.ones(3, dtype=np.float32)
        data = torch.from_numpy(array)
        loss = (data * weight).sum()
        torch.equal(data, data.clone())
        array[0] = 5
        loss.backward()
    assert caplog.records == []
    assert len(shown) == (level == "warn")


def test_the_log_of_a_program_holds_nothing_of_ours_unless_it_asks_this_very_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for level in ("log", "warn"):
        with guard(level=level, report=False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
            torch.from_numpy(np.ones(3))
    assert caplog.records == []
