"""When a report is shown and where: once, at the end of the outermost block, if there is something to mend.

A file asked for is written here, too. Nothing kept is lost: where a file cannot be written, the text still goes to stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TextIO

from .policy.violation import GuardViolation
from .processes.household import HOUSEHOLD
from .processes.siblings import shown_file
from .ranks import is_launcher
from .running import RUNNING

if TYPE_CHECKING:
    from .guard import guard
    from .report.model import Report

_TOLD: Final = frozenset({"warning", "error", "critical"})


def finish(
    done: guard, report: Report, error: BaseException | None, stream: TextIO | None = None, *, prints: bool = True
) -> None:
    """Write the files and, if it ``prints``, print what is to be printed."""
    config = done.config
    if done.is_process_report and is_launcher() and not report.findings and not report.run.steps:
        return  # a launcher whose programs were not followed has nothing to say
    speaks = HOUSEHOLD.speaks or not done.is_process_report
    if config.json is not None and (speaks or "%r" in config.json or "%p" in config.json):
        _write(report, config.json)
    if not speaks:
        return
    if config.baseline is not None and config.update_baseline:
        _write_baseline(done, report, config.baseline)
    if config.report is False:
        return
    told = isinstance(error, GuardViolation) and not done.is_process_report  # its message says it
    worth = {finding.id for finding in report.findings if finding.severity in _TOLD and finding.allowed is None}
    worth_it = bool(worth - done.told)
    if isinstance(config.report, str):
        _write_text(report, config.report)
    elif config.report is not None and not isinstance(config.report, str | bool):
        config.report.write(str(report) + "\n")
    elif not prints:
        return
    elif done.is_process_report or (done.is_outermost and worth_it and not told):
        _print(report, stream or sys.stderr)
        done.told |= worth


def _print(report: Report, stream: TextIO | None) -> None:
    if stream is not None:  # none under pythonw, where nobody would read it
        report.print(stream)
        stream.flush()


def say(text: str) -> None:
    """A line to the user, whatever state standard error is in."""
    from .environment import say as told

    told(text)


def write_file(report: Report, path: str | None) -> None:
    """The report file as it stands now; what goes wrong is the caller's to count."""
    if path is not None:
        with RUNNING.files:
            report.dump(shown_file(report, path))


def _write(report: Report, path: str) -> None:
    try:
        write_file(report, path)
    except OSError as error:
        say(f"{path} cannot be written ({error}); the report follows")
        _print(report, sys.stderr)


def _write_baseline(done: guard, report: Report, path: str) -> None:
    from .policy.baseline import BaselineError, write
    from .report.wording import plural

    try:
        known = write(report, path, done.bites)
    except BaselineError as error:
        say(f"{error}")
    else:
        say(f"{path} holds {plural(known, 'finding')} that {'is' if known == 1 else 'are'} let pass from now on")


def _write_text(report: Report, path: str) -> None:
    from .values import file_for

    try:
        with open(file_for(path), "w", encoding="utf-8") as file:
            file.write(str(report) + "\n")
    except OSError as error:
        say(f"{path} cannot be written ({error}); the report follows")
        _print(report, sys.stderr)
