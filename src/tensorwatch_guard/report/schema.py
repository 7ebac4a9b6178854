"""The report file: schema ``tensorwatch-guard/1`` as JSON, written in one go, read with clear errors.

Keys that this version does not know are kept where they stood (``extra``) and dumped again, so that an older tool can
pass on a newer report.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from itertools import chain
from typing import Any, Final

from ..words import KINDS, NOTHING, SCHEMA, SEVERITIES, Finding, Related, RunInfo, Site
from .model import Notice, Report, ReportError, ReportFileError

_NAME, _, _VERSION = SCHEMA.partition("/")
_TOP: Final = ("schema", "run", "findings", "totals", "blind_spots", "notices")
_SITE: Final = tuple(item.name for item in fields(Site))
_RUN: Final = tuple(item.name for item in fields(RunInfo) if item.name != "extra")
_FINDING: Final = tuple(item.name for item in fields(Finding) if item.name != "extra")
_RELATED: Final = tuple(item.name for item in fields(Related))
_NOTICE: Final = tuple(item.name for item in fields(Notice))
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "id": str, "kind": str, "op": str, "rule": str, "severity": str, "count": int, "per_step": (int, float),
    "bytes": int, "blocked_s": (int, float), "blocking": bool, "implicit": bool, "first_step": int, "last_step": int,
    "allowed": (str, type(None)), "advice": str, "via": (list, tuple), "threads": (list, tuple),
    "related": (list, tuple), "details": dict, "site": (dict, type(None)), "origin": (dict, type(None)),
    "file": str, "line": int, "rank": (int, type(None)), "world_size": (int, type(None)), "steps": int,
    "duration_s": (int, float), "overhead_s": (int, float), "aborted": bool, "layers": (list, tuple),
    "argv": (list, tuple), "role": str, "text": str, "end_line": (int, type(None)), "column": (int, type(None)),
    "end_column": (int, type(None)), "function": str, "source": (str, type(None)),
}  # fmt: skip
_LISTS: Final = ("via", "threads", "layers", "argv")
_EXACT: Final = {
    name: frozenset(kind if isinstance(kind, tuple) else (kind,)) for name, kind in _TYPES.items() if name not in _LISTS
}
"""Values of these very types need no second look: a thousand files of ten thousand findings are read at a time."""
_NEEDED: Final = tuple(
    item.name for item in fields(Finding) if item.default is MISSING and item.default_factory is MISSING
)


# -- to JSON -----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value as JSON can hold it: never an error. NaN and infinities become strings, unknown objects their text."""
    if value is None or isinstance(value, str | bool | int):
        return value if type(value) in {str, bool, int, type(None)} else _base(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Site):
        return _site(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    item = getattr(value, "item", None)  # NumPy's scalars
    if callable(item) and getattr(value, "shape", None) == ():
        return plain(item())
    return str(value)


def _base(value: Any) -> Any:
    return next(base(value) for base in (bool, int, str) if isinstance(value, base))


def _site(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else {name: getattr(site, name) for name in _SITE}


def _finding(finding: Finding) -> dict[str, Any]:
    made = {name: plain(getattr(finding, name)) for name in _FINDING if name != "related"}
    made["related"] = [
        {"role": o.role, "id": o.id, "site": _site(o.site), **({"origin": _site(o.origin)} if o.origin else {})}
        for o in finding.related
    ]
    return _with(made, finding.extra)


def _with(made: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Put kept unknown keys back; what belongs into an inner object goes there."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(made.get(key), dict):
            made[key] = {**plain(value), **made[key]}
        else:
            made.setdefault(key, plain(value))
    return made


def to_json(report: Report) -> dict[str, Any]:
    """The report file's content as plain dicts, lists, strings and numbers."""
    run = _with({name: plain(getattr(report.run, name)) for name in _RUN}, report.run.extra)
    made = {
        "schema": SCHEMA,
        "run": run,
        "findings": [_finding(finding) for finding in report.findings],
        "totals": plain(report.totals),
        "blind_spots": list(report.blind_spots),
        "notices": [{**plain({n: getattr(notice, n) for n in _NOTICE})} for notice in report.notices],
    }
    return _with(made, report.extra)


def pieces(report: Report) -> Iterator[str]:
    """The report file's text, a finding at a time: a merged report would need ten times its size as one text."""
    whole = json.dumps(to_json(replace(report, findings=())), indent=1, allow_nan=False)
    if not report.findings:
        yield whole
        return
    head, empty, tail = whole.partition('\n "findings": []')  # a line of the outermost object: only there it is so deep
    yield head + empty[:-1]
    for at, finding in enumerate(report.findings):
        text = json.dumps(_finding(finding), indent=1, allow_nan=False).replace("\n", "\n  ")
        yield f"{',' if at else ''}\n  {text}"
    yield "\n ]" + tail


def dump(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the file beside its place and move it there: a reader, or a killed process, never leaves half of it."""
    target = os.fspath(path)
    try:
        _write(target, chain(pieces(report), "\n"))
    except OSError as error:
        raise ReportFileError(f"cannot write the report {target}: {error.strerror or error}") from None


def _write(target: str, text: Iterable[str]) -> None:
    if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):  # /dev/stdout, a pipe
        with open(target, "w", encoding="utf-8") as stream:
            stream.writelines(text)
        return
    target = os.path.realpath(target)  # a link stays a link
    beside = f"{target}.{os.getpid()}.part"
    try:
        with open(beside, "w", encoding="utf-8") as stream:
            stream.writelines(text)
        os.replace(beside, target)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise


# -- from JSON ---------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> Report:
    """Read a report file; every way to fail is a ``ReportError`` of one line that names it."""
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as stream:
            raw = json.load(stream)
    except FileNotFoundError:
        raise ReportFileError(f"there is no report {name}") from None
    except OSError as error:
        raise ReportFileError(f"cannot read the report {name}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{name} is no report, or a broken one: {error}") from None
    try:
        return from_json(raw)
    except ReportError as error:
        raise ReportError(f"{name}: {error}") from None


def from_json(raw: Any) -> Report:
    """A report from the content of its file.

    Raises:
        ReportError: If it is of another schema, or a part has the wrong type.
    """
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(schema, str) or schema.partition("/")[0] != _NAME:
        raise ReportError(f'not a report of tensorwatch_guard (no "schema": "{SCHEMA}")')
    if schema.partition("/")[2] != _VERSION:
        raise ReportError(f"schema {schema}, and this version reads {SCHEMA}: update tensorwatch_guard")
    run = _known(_expect(raw, "run", dict, {}), _RUN, "run")
    findings = _expect(raw, "findings", list, [])
    return Report(
        run=RunInfo(**run),
        findings=tuple(_load_finding(item, f"finding {at}") for at, item in enumerate(findings, 1)),
        totals=_expect(raw, "totals", dict, {}),
        blind_spots=tuple(str(spot) for spot in _expect(raw, "blind_spots", list, [])),
        extra={key: value for key, value in raw.items() if key not in _TOP},
        notices=tuple(_load_notice(item) for item in _expect(raw, "notices", list, [])),
    )


def _expect(raw: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = raw.get(key, default)
    if not isinstance(value, kind):
        raise ReportError(f"{key!r} should be {'an object' if kind is dict else 'a list'}")
    return value


def _known(raw: Any, names: tuple[str, ...], where: str, *, extra: bool = True) -> dict[str, Any]:
    """The known keys, types checked, and (``extra``) the unknown ones under ``extra``."""
    if not isinstance(raw, dict):
        raise ReportError(f"{where} should be an object")
    made: dict[str, Any] = {}
    for name in names:
        if name in raw:
            value = raw[name]
            made[name] = value if type(value) in _EXACT.get(name, ()) else _checked(name, value, where)
    if extra:
        made["extra"] = {key: value for key, value in raw.items() if key not in names} or NOTHING
    return made


def _checked(name: str, value: Any, where: str) -> Any:
    kind = _TYPES.get(name)
    wrong = kind is not None and not isinstance(value, kind)
    if wrong or (kind is int and isinstance(value, bool)):
        raise ReportError(f"{where}: {name!r} has the wrong type ({type(value).__name__})")
    return tuple(str(item) for item in value) if name in _LISTS else value


def _load_site(raw: Any, where: str) -> Site | None:
    if raw is None:
        return None
    made = _known(raw, _SITE, where, extra=False)
    if "file" not in made or "line" not in made:
        raise ReportError(f"{where} lacks file or line")
    return Site(**made)


def _load_related(raw: Any, where: str) -> Related:
    made = _known(raw, _RELATED, where, extra=False)
    site, origin = (_load_site(made.get(name), where) for name in ("site", "origin"))
    return Related(made.get("role", ""), made.get("id", ""), site, origin)


def _load_finding(raw: Any, where: str) -> Finding:
    made = _known(raw, _FINDING, where)
    if missing := [name for name in _NEEDED if name not in made]:
        raise ReportError(f"{where} lacks {missing[0]!r}")
    if made["kind"] not in KINDS or made["severity"] not in SEVERITIES:
        raise ReportError(f"{where}: unknown kind {made['kind']!r} or severity {made['severity']!r}")
    extra = dict(made["extra"])
    for name in ("site", "origin"):
        inner = raw.get(name)
        if isinstance(inner, dict) and (unknown := {k: v for k, v in inner.items() if k not in _SITE}):
            extra[name] = unknown
        made[name] = _load_site(inner, f"{where}: {name}")
    made["related"] = tuple(_load_related(item, f"{where}: related") for item in made.get("related", ()))
    made["extra"] = extra or NOTHING
    return Finding(**made)


def _load_notice(raw: Any) -> Notice:
    made = _known(raw, _NOTICE, "notice", extra=False)
    site = _load_site(made.get("site"), "notice")
    return Notice(made.get("rule", ""), made.get("text", ""), site, made.get("count", 1))
