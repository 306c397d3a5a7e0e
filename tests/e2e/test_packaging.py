"""What users install: built, put into a fresh environment, and used from there."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("instrumentation", "processor", "exporter", "ingest")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSUMER = ROOT / "tests" / "typing" / "consumer.py"
IMPORT_ALL = """
import importlib, json, pkgutil, tollspan
names = [m.name for m in pkgutil.walk_packages(tollspan.__path__, "tollspan.")]
of_extras = {"tollspan.ledger._redis_driver": "redis"}
for name in names:
    if name.endswith(".__main__"):
        continue
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if of_extras.get(name) != error.name:
            raise
print(json.dumps(names))
"""
LOAD_ENTRY_POINTS = """
import json, sys
from importlib.metadata import entry_points
found = [p for p in entry_points(group="opentelemetry_instrumentor") if p.dist.name == "tollspan"]
for point in found:
    point.load()()
print(json.dumps({"names": [p.name for p in found], "openai": "openai" in sys.modules}))
"""

pytestmark = pytest.mark.timeout(300)


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Run a command outside the repository's own environment; return what it printed."""
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def sources() -> set[str]:
    """The files of the four rooms, as `tollspan/...`."""
    return {
        path.relative_to(ROOT / room / "src").as_posix()
        for room in ROOMS
        for path in (ROOT / room / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def code(files: set[str]) -> set[str]:
    """The modules among files: not `sitecustomize`, whose folder is put on a search path."""
    return {file for file in files if file.endswith(".py") and "sitecustomize" not in file}


def modules() -> set[str]:
    """The importable names of the four rooms."""
    return {re.sub(r"(/__init__)?\.py$", "", file).replace("/", ".") for file in code(sources())}


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def build(kind: str, tree: Path, target: Path) -> Path:
    """Build with the backend that is installed here: no isolation, no network."""
    run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target], tree)
    (built,) = target.iterdir()
    return built


class Environment:
    """A fresh virtual environment, filled with uv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        uv: list[str | Path] = [sys.executable, "-m", "uv"]
        run([*uv, "venv", "--quiet", "--python", sys.executable, folder], folder.parent)
        pins = folder / "pins.txt"
        frozen = run([*uv, "pip", "freeze", "--python", sys.executable], ROOT).splitlines()
        pins.write_text("\n".join(line for line in frozen if "==" in line))
        self._install = [*uv, "pip", "install", "--python", self.python, "--constraint", pins]

    def install(self, *what: str | Path) -> None:
        """Install with the versions that the tests run with: from the cache when they are there."""
        offline = [*self._install, "--offline", *what]
        answer = subprocess.run(offline, cwd=self.folder, capture_output=True, check=False)
        if answer.returncode != 0:
            run([*self._install, *what], self.folder)

    def python_prints(self, program: str) -> str:
        """Run a program that sees nothing but this environment."""
        return run([self.python, "-I", "-c", program], self.folder)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv")
    environment.install(f"tollspan[openai,server] @ {wheel.as_uri()}")
    return environment


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable") / "venv")
    environment.install("--editable", f"{ROOT}[openai,server]")
    return environment


def test_the_wheel_from_the_sdist_is_the_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    run(["tar", "-xzf", sdist, "-C", tmp_path], tmp_path)  # tarfile's filters are newer than 3.11.0
    (tree,) = tmp_path.iterdir()
    assert contents(build("wheel", tree, tmp_path / "dist")) == contents(wheel)


def test_the_wheel_holds_the_four_rooms_and_nothing_else(wheel: Path) -> None:
    held = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert held == sources()


def test_the_wheel_is_a_namespace_of_typed_packages(wheel: Path) -> None:
    held = {name for name in contents(wheel) if name.startswith("tollspan/")}
    folders = {Path(name).parent.as_posix() for name in code(held)}
    assert "tollspan" not in {Path(name).parent.as_posix() for name in held}
    for folder in folders:
        assert {f"{folder}/__init__.py", f"{folder}/py.typed"} <= held


def test_the_wheel_carries_the_price_book_and_the_licence(wheel: Path) -> None:
    held = contents(wheel)
    data = [
        name
        for name in held
        if name.startswith("tollspan/pricing/") and Path(name).suffix not in {".py", ".typed"}
    ]
    assert [name for name in data if held[name]]
    assert any(name.endswith("/licenses/LICENSE") for name in held)


def test_every_module_of_the_wheel_can_be_imported(installed: Environment) -> None:
    assert set(json.loads(installed.python_prints(IMPORT_ALL))) == modules()


def test_every_module_can_be_imported_from_an_editable_install(editable: Environment) -> None:
    assert set(json.loads(editable.python_prints(IMPORT_ALL))) == modules()
    where = editable.python_prints("import tollspan.usage; print(tollspan.usage.__file__)")
    assert Path(where.strip()).is_relative_to(ROOT)


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_the_console_script_says_its_version(kind: str, request: pytest.FixtureRequest) -> None:
    environment: Environment = request.getfixturevalue(kind)
    printed = run([environment.folder / "bin" / "tollspan", "--version"], environment.folder)
    assert PROJECT["version"] in printed.split()


def test_the_entry_points_load_without_the_provider(installed: Environment) -> None:
    answer = json.loads(installed.python_prints(LOAD_ENTRY_POINTS))
    assert sorted(answer["names"]) == sorted(PROJECT["entry-points"]["opentelemetry_instrumentor"])
    assert answer["openai"] is False


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        pytest.param(
            "from tollspan.api import CallDeniedError, BudgetExceededError",
            ("opentelemetry.sdk", "openai"),
            id="an error of the API loads no SDK",
        ),
        pytest.param(
            "import tollspan.instrumentation",
            tuple(PROJECT["optional-dependencies"].keys() - {"all"}),
            id="the instrumentation loads no provider",
        ),
    ],
)
def test_imports_stay_light(
    installed: Environment, statement: str, unwanted: tuple[str, ...]
) -> None:
    loaded = installed.python_prints(f"{statement}\nimport sys\nprint(*sys.modules)").split()
    assert [name for name in loaded if name.startswith(unwanted)] == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_type_checker_accepts_a_consumer(
    checker: str, installed: Environment, tmp_path: Path
) -> None:
    program = tmp_path / "consumer.py"
    program.write_text(CONSUMER.read_text())
    python = str(installed.python)
    arguments = {
        "mypy": ["--strict", f"--python-executable={python}", f"--cache-dir={tmp_path}/cache"],
        "pyright": [f"--pythonpath={python}"],
    }
    run([sys.executable, "-m", checker, *arguments[checker], program], tmp_path)


def test_the_version_is_the_one_of_the_project() -> None:
    assert importlib.metadata.version("tollspan") == PROJECT["version"]
