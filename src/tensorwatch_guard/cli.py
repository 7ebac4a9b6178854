"""The command line: ``tensorwatch-guard run | report | diff | rules | doctor``, the same as ``python -m tensorwatch_guard``.

Exit codes: of ``run`` the program's own first, then 1 where the command or the guard failed, 2 where a level or a
limit was broken; elsewhere 0, 1 and 2 in the same sense. What a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import __version__
from .levels import GOOD_SETTINGS, ConfigError, hint
from .options import KILL_SWITCH, OPTIONS, is_killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .environment import ProcessGuard
    from .options import Config
    from .report.model import Report, ReportError
    from .report.terminal import Style

FINE: Final = 0
FAILED: Final = 1
VIOLATED: Final = 2

_UNKNOWN: Final = re.compile(r"unrecognized arguments: (--[\w-]+)")


class _Parser(argparse.ArgumentParser):
    """Exits with 1 on a mistake (2 means a broken level here), and names the option that was probably meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        if found := _UNKNOWN.search(message):
            message += hint(found[1], self._option_string_actions)
        self.exit(FAILED, f"{self.format_usage()}{self.prog}: error: {message}\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As usual, but a subcommand's unknown options are that subcommand's to complain about."""
        known, left = self.parse_known_args(args, namespace)
        if left:
            getattr(known, "parser", self).error(f"unrecognized arguments: {' '.join(left)}")
        return known


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; without ``arguments``, that of this process.

    Returns:
        The exit code.
    """
    try:
        given = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = given.command
        return command(given)
    except BrokenPipeError:  # `report ... | head`: the reader has seen enough
        if given.command is _run:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FINE
    except ConfigError as error:
        return _failed(str(error))


def _parser() -> _Parser:
    parser = _Parser(
        prog="tensorwatch-guard",
        description="Find out where training waits for the device, copies, and shares memory that is written later.",
    )
    parser.add_argument("--version", action="version", version=f"tensorwatch-guard {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    _add_run(commands)
    _add_report(commands)
    _add_diff(commands)
    _add_rules(commands)
    _add_doctor(commands)
    return parser


# -- run -------------------------------------------------------------------------------------------------------


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run a program under a guard",
        usage="tensorwatch-guard run [options] script.py [args] | -m module [args] | -c code [args]",
        description="Run a program as python does, with a guard around all of it. Options come before the program.",
        epilog=f"LEVEL is one of: {GOOD_SETTINGS}. All options: docs/options.md.",
    )
    for row in OPTIONS:
        if "cli" not in row.where:
            continue
        if row.is_switch:
            run.add_argument(row.flag, action=argparse.BooleanOptionalAction, default=None, help=row.help)
        else:
            shown = "LEVEL" if row.good == GOOD_SETTINGS else row.name.upper()
            run.add_argument(row.flag, metavar=shown, help=row.help.replace("%", "%%"))
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, default=[], help="run a module, as python -m")
    run.add_argument("-c", dest="code", nargs=argparse.REMAINDER, default=[], help="run a text, as python -c")
    run.add_argument("script", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    run.set_defaults(command=_run, parser=run)


def _run(given: argparse.Namespace) -> int:
    from .environment import ProcessGuard, claim, config_of_process
    from .run import CannotRun, program_of, run

    claim()
    config = config_of_process(os.environ, vars(given))
    config.check_files()
    script = given.script[1:] if given.script[:1] == ["--"] else given.script
    # "-mpkg" and "-ccode" leave what follows to the script's list
    module, code = ([*first, *script] if len(first) == 1 else first for first in (given.module, given.code))
    process = ProcessGuard(config)
    try:
        program = program_of(module, code, script)
        if not is_killed(os.environ):
            process.wait_for_torch()
        try:
            ended = run(program)
        except KeyboardInterrupt:
            _finish(process, config, given)
            sys.excepthook = lambda *_: None  # the program's traceback is out; python itself ends as interrupted
            raise
    except CannotRun as error:
        return _failed(str(error))
    _finish(process, config, given)
    return ended or (FAILED if process.failed else VIOLATED if process.violated else FINE)


def _finish(process: ProcessGuard, config: Config, given: argparse.Namespace) -> None:
    process.finish()
    if process.report is not None:
        _next_command(process.report, config, given)
    elif is_killed(os.environ):
        _say(f"{KILL_SWITCH} is set: nothing was watched")
    elif not process.failed:
        _say("torch was never imported: there was nothing to watch")


def _next_command(report: Report, config: Config, given: argparse.Namespace) -> None:
    from .values import file_for

    if report.clean or config.report is False:
        return
    program = ["-m", *given.module] if given.module else ["-c", *given.code] if given.code else given.script
    if config.simulate is not None:
        program = ["--simulate", config.simulate, *program]
    if any(finding.details.get("exact") is False for finding in report.mutations) and config.writes != "exact":
        _say(f"next, the very lines that wrote: tensorwatch-guard run --writes exact {shlex.join(program)}")
    elif config.json is not None:
        _say(f"next: tensorwatch-guard report {shlex.quote(file_for(config.json))} --format html -o report.html")
    else:
        _say(f"next, to keep and compare: tensorwatch-guard run --json before.json {shlex.join(program)}")


# -- report and diff -------------------------------------------------------------------------------------------


def _add_report(commands: Any) -> None:
    report = commands.add_parser("report", help="show report files, several as one", description="Show report files.")
    report.add_argument("files", nargs="+", metavar="FILE", help="a report file or a folder of them; many are merged")
    report.add_argument("--format", default=None, metavar="FORMAT", help="text (default), json, html, markdown, github")
    report.add_argument("-o", "--output", metavar="PATH", help="write there instead; .json and .html name the format")
    report.add_argument("-v", "--verbose", action="store_true", help="show every finding, and every place in full")
    report.set_defaults(command=_report, parser=report)


def _report(given: argparse.Namespace) -> int:
    from .report.formats import stream
    from .report.merge import files_in
    from .report.model import Report, ReportError
    from .report.terminal import Style, style_of

    wrong: tuple[ReportError, ...] = ()
    try:
        if len(given.files) == 1 and not os.path.isdir(given.files[0]):
            report = Report.load(given.files[0])
        else:
            report, wrong = _merged(files_in(given.files))
        name = given.format or _format_of(given.output)
        style = Style() if given.output else style_of(sys.stdout)
        text = stream(report, name, style, verbose=given.verbose)
    except ReportError as error:
        return _failed(str(error))
    for one in wrong:
        _say(f"left out: {one}")
    return max(_put(text, given.output, style), FAILED if wrong else FINE)


def _merged(files: Iterable[str]) -> tuple[Report, tuple[ReportError, ...]]:
    """Reports hold no cycles: looking for some in millions of objects, again and again, takes a quarter of the time."""
    import gc

    from .report.merge import merge_files

    collecting = gc.isenabled()
    gc.disable()
    try:
        return merge_files(files)
    finally:
        if collecting:
            gc.enable()


def _format_of(path: str | None) -> str:
    ending = os.path.splitext(path or "")[1].lower()
    return {".json": "json", ".html": "html", ".htm": "html", ".md": "markdown"}.get(ending, "text")


def _put(text: Iterable[str], path: str | None, style: Style) -> int:
    if path is None:
        sys.stdout.writelines(style.fit(piece) for piece in text)
        print(flush=True)
        return FINE
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(text)
            file.write("\n")
    except OSError as error:
        return _failed(f"{path} cannot be written: {error.strerror or error}")
    return FINE


def _add_diff(commands: Any) -> None:
    diff = commands.add_parser("diff", help="compare two report files", description="What changed from A to B.")
    diff.add_argument("before", metavar="A", help="the earlier report file")
    diff.add_argument("after", metavar="B", help="the later report file")
    diff.add_argument(
        "--fail-on", metavar="SORTS", default="", help="exit with 2 if there is any of: new, more, less, gone"
    )
    diff.set_defaults(command=_diff, parser=diff)


def _diff(given: argparse.Namespace) -> int:
    from .report.diff import difference, fail_on
    from .report.model import Report, ReportError
    from .report.terminal import style_of

    try:
        sorts = fail_on(given.fail_on)
        found = difference(Report.load(given.before), Report.load(given.after))
    except (ReportError, ValueError) as error:
        return _failed(str(error))
    style = style_of(sys.stdout)
    print(style.fit(found.text(style)))
    return VIOLATED if found.failing(sorts) else FINE


# -- rules -----------------------------------------------------------------------------------------------------


def _add_rules(commands: Any) -> None:
    rules = commands.add_parser(
        "rules", help="what the rules mean, and how to mend", description="Explain rules; without one, list them."
    )
    rules.add_argument("rules", nargs="*", metavar="TWGnnn", help="which rules")
    rules.set_defaults(command=_rules, parser=rules)


def _rules(given: argparse.Namespace) -> int:
    from .rules import BY_ID, RULES
    from .rules.page import explained, listed

    wanted = [name.upper() for name in given.rules]
    for name in wanted:
        if name not in BY_ID:
            return _failed(f"there is no rule {name}{hint(name, BY_ID)}; all of them: tensorwatch-guard rules")
    print("\n\n".join(explained(BY_ID[name]) for name in wanted) or "\n".join(map(listed, RULES)))
    return FINE


# -- doctor ----------------------------------------------------------------------------------------------------


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="what is installed, what can run here, and why not", description="Look at this installation."
    )
    doctor.set_defaults(command=_doctor, parser=doctor)


def _doctor(_: argparse.Namespace) -> int:
    from .doctor import examine

    found = examine()
    print(found)
    return FINE if found.sound else FAILED


def _failed(text: str) -> int:
    _say(f"error: {text}")
    return FAILED


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # full or closed: the program's exit code stays its own
            print(f"tensorwatch-guard: {text}", file=sys.stderr, flush=True)
