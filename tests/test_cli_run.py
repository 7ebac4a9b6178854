"""``run`` behaves as ``python`` does: the same program run both ways says the same and ends the same."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

PREFIX = "tensorwatch-guard:"


class Runner:
    """Runs a command line as ``python`` and as ``tensorwatch-guard run`` would, in a directory."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = environ

    def write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def start(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.home,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def guarded(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.start("-m", "tensorwatch_guard", "run", *command)

    def same(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run it both ways, hold them equal (our own lines on stderr aside), and return the plain one."""
        plain, guarded = self.start(*command), self.guarded(*command)
        said = [line for line in guarded.stderr.splitlines() if not line.startswith(PREFIX)]
        assert guarded.stdout == plain.stdout
        assert guarded.returncode == plain.returncode
        assert said == plain.stderr.splitlines()
        return plain


@pytest.fixture
def runner(tmp_path: Path, measured: dict[str, str]) -> Runner:
    return Runner(tmp_path, measured)


IDENTITY = """
    import sys
    print(sys.argv, sys.path[0], __name__, __package__, __doc__, type(__loader__).__name__, __spec__ and __spec__.name)
    print(globals().get("__file__"), sorted(globals()))
    print(sys.modules["__main__"].__dict__ is globals(), __builtins__)
"""


def test_a_script_is_main(runner: Runner):
    runner.write("deep/script.py", IDENTITY)
    plain = runner.same("deep/script.py", "--sync", "-m", "3", "--", "-c")
    assert "'--sync', '-m', '3', '--', '-c'" in plain.stdout


def test_a_script_behind_a_link(runner: Runner):
    (runner.home / "link.py").symlink_to(runner.write("deep/script.py", IDENTITY))
    runner.same("link.py")


def test_a_module(runner: Runner):
    runner.write("package/__init__.py", "print('package', __name__)")
    runner.write("package/part.py", IDENTITY)
    plain = runner.same("-m", "package.part", "--sync", "x")
    assert "package.part" in plain.stdout


def test_a_package_with_a_main(runner: Runner):
    runner.write("package/__init__.py", "")
    runner.write("package/__main__.py", IDENTITY + "\n    from . import other\n")
    runner.write("package/other.py", "print('other', __package__)")
    runner.same("-m", "package", "-v")


def test_a_text(runner: Runner):
    runner.same("-c", textwrap.dedent(IDENTITY), "--sync", "x")


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
def test_a_directory_or_archive_with_a_main(runner: Runner, packed: bool):
    main, other = "from other import name\nimport sys\nprint(name, sys.argv, __name__, __package__)\n", "name = 'n'\n"
    if packed:
        with zipfile.ZipFile(runner.home / "program", "w") as archive:
            archive.writestr("__main__.py", main)
            archive.writestr("other.py", other)
    else:
        runner.write("program/__main__.py", main)
        runner.write("program/other.py", other)
    runner.same("program", "x")


@pytest.mark.parametrize(
    "ending",
    [
        *("", "sys.exit()", "sys.exit(0)", "sys.exit(3)", "sys.exit(True)", "sys.exit('a reason')", "sys.exit([1])"),
        *("sys.exit(300)", "raise SystemExit(-1)", "exit(4)", "os._exit(5)", "raise GeneratorExit"),
    ],
)
def test_every_ending(runner: Runner, ending: str):
    runner.write("script.py", f"import os, sys\nprint('ran', flush=True)\n{ending}\n")
    runner.same("script.py")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def f():\n    return 1 / 0\nf()\n", id="plain"),
        pytest.param("try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('x') from e\n", id="cause"),
        pytest.param("try:\n    1 / 0\nfinally:\n    int('x')\n", id="context"),
        pytest.param("print('never'\n", id="syntax"),
        pytest.param("import nowhere_to_be_found\n", id="import"),
        pytest.param("import sys\nsys.excepthook = lambda *a: print('hook', a[0])\n1 / 0\n", id="hook"),
        pytest.param("import sys\nsys.excepthook = None\nraise ValueError\n", id="bad hook"),
        pytest.param("import atexit\natexit.register(print, 'last words')\nraise ValueError('x')\n", id="atexit"),
    ],
)
def test_every_traceback(runner: Runner, text: str):
    runner.write("script.py", text)
    plain, guarded = runner.start("script.py"), runner.guarded("script.py")
    assert (guarded.stdout, guarded.returncode) == (plain.stdout, plain.returncode)
    assert "tensorwatch_guard" not in guarded.stderr
    if "bad hook" not in text and "excepthook = None" not in text:
        assert guarded.stderr.startswith(plain.stderr)


def test_a_traceback_of_a_module_begins_in_it(runner: Runner):
    runner.write("package/__init__.py", "")
    runner.write("package/part.py", "raise ValueError('mine')")
    found = runner.guarded("-m", "package.part")
    assert found.returncode == 1
    assert found.stderr.splitlines()[1].strip().startswith(f'File "{runner.home}/package/part.py", line 1')


def test_an_interrupt_ends_as_in_python(runner: Runner):
    runner.write("script.py", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('not reached')\n")
    runner.same("script.py")


def test_main_can_be_pickled_and_spawned(runner: Runner):
    runner.write(
        "script.py",
        """
        import multiprocessing, pickle

        class Thing:
            pass

        def work(number):
            return number * 2, type(pickle.loads(pickle.dumps(Thing()))).__module__

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                print(pool.map(work, [1, 2]))
            print(pickle.loads(pickle.dumps(Thing())).__class__ is Thing)
        """,
    )
    plain = runner.same("script.py")
    assert "[(2, '__mp_main__'), (4, '__mp_main__')]\nTrue" in plain.stdout


def test_a_module_can_be_spawned(runner: Runner):
    runner.write("package/__init__.py", "")
    runner.write(
        "package/part.py",
        """
        import multiprocessing

        def work(number):
            return number * 2

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, [1, 2]))
        """,
    )
    assert runner.same("-m", "package.part").stdout == "[2, 4]\n"


def test_threads_are_waited_for(runner: Runner):
    runner.write(
        "script.py",
        """
        import atexit, threading
        from concurrent.futures import ThreadPoolExecutor
        atexit.register(print, "atexit")
        gate = threading.Event()
        def late():
            gate.wait()
            print("thread")
        threading.Thread(target=late).start()
        pool = ThreadPoolExecutor(1)
        pool.submit(print, "pool").result()
        threading.Timer(0.1, gate.set).start()
        print("end of script")
        """,
    )
    assert runner.same("script.py").stdout == "pool\nend of script\nthread\natexit\n"


def test_future_imports_of_ours_do_not_leak(runner: Runner):
    text = "def f(x: int): pass\nprint(f.__annotations__)"
    runner.write("script.py", text)
    runner.same("script.py")
    runner.same("-c", text)


def test_safe_path_is_kept(runner: Runner):
    runner.write("script.py", "import sys\nprint(sys.path)\n")
    if sys.version_info < (3, 11):
        pytest.skip("-P came with Python 3.11")
    assert runner.start("-P", "-m", "tensorwatch_guard", "run", "script.py").stdout == (
        runner.start("-P", "script.py").stdout
    )


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ((), "nothing to run; name a script, or -m module, or -c code"),
        (("nowhere.py",), "can't open file"),
        (("-m", "nowhere"), "No module named nowhere"),
        (("-m", "json.nowhere.deep"), "No module named json.nowhere.deep"),
        (("-m", "xml"), "No module named xml.__main__; 'xml' is a package and cannot be directly executed"),
        ((".",), "can't find '__main__' module in '.'"),
        (("--snyc", "error", "x.py"), 'unrecognized arguments: --snyc (did you mean "--sync"?)'),
        (("--sync", "eror", "x.py"), "--sync='eror' is no level; good values: off, log, warn, error"),
        (("--json", "missing/r.json", "x.py"), "there is no directory"),
        (("--writes",), "expected one argument"),
    ],
)
def test_mistakes_in_the_command_are_told_in_one_line(runner: Runner, command: tuple[str, ...], told: str):
    found = runner.guarded(*command)
    assert found.returncode == 1
    assert told in found.stderr.splitlines()[-1]
    assert found.stdout == ""


def test_bad_surroundings_are_told_before_anything_runs(runner: Runner):
    runner.write("script.py", "print('ran')")
    runner.write("pyproject.toml", "[tool.tensorwatch_guard]\nsnyc = 'error'\n")
    found = runner.guarded("script.py")
    assert (found.returncode, found.stdout) == (1, "")
    assert 'did you mean "sync"' in found.stderr
    (runner.home / "pyproject.toml").unlink()
    runner.environ = {**runner.environ, "TENSORWATCH_GUARD_WRITES": "exat"}
    found = runner.guarded("script.py")
    assert (found.returncode, found.stdout) == (1, "")
    assert "TENSORWATCH_GUARD_WRITES='exat'" in found.stderr


def test_a_program_without_torch_is_told_so_and_does_not_load_it(runner: Runner):
    runner.write("script.py", "import sys\nprint('torch' in sys.modules, 'numpy' in sys.modules)\n")
    found = runner.guarded("--json", "r.json", "script.py")
    assert (found.stdout, found.returncode) == ("False False\n", 0)
    assert found.stderr == f"{PREFIX} torch was never imported: there was nothing to watch\n"
    assert not (runner.home / "r.json").exists()


def test_where_standard_error_is_none_nothing_of_ours_is_among_the_programs_output(runner: Runner):
    """As under pythonw: ``print(file=None)`` would take standard output."""
    runner.write("script.py", "import sys, torch\nprint('out', torch.ones(1).item())\nsys.stderr = None\n")
    found = runner.guarded("script.py")
    assert (found.stdout, found.returncode) == ("out 1.0\n", 0)
    runner.write("script.py", "import sys\nprint('out')\nsys.stderr = None\n")
    assert runner.guarded("script.py").stdout == "out\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_standard_error_that_is_full_costs_no_exit_code(runner: Runner):
    runner.write("ends.py", "import sys, torch\ntorch.ones(1).item()\nsys.exit(3)\n")
    runner.write("fine.py", "import torch\ntorch.ones(1).item()\n")
    for options, program, code in (((), "ends.py", 3), (("--read", "0"), "fine.py", 2), ((), "fine.py", 0)):
        command = " ".join([sys.executable, "-m", "tensorwatch_guard", "run", *options, program, "2>/dev/full"])
        done = subprocess.run(command, cwd=runner.home, env=runner.environ, shell=True, check=False, timeout=120)  # noqa: S602
        assert done.returncode == code, (options, program)
