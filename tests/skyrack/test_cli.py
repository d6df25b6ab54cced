from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

from skyrack import cli
from skyrack.errors import UserError


@click.command()
def needs_numpy_late() -> None:
    raise ModuleNotFoundError("No module named 'numpy'", name="numpy.linalg")


@click.command()
def refuses() -> None:
    raise UserError("job.toml: watts is -1: must be a number >= 0")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: EntryPoint) -> click.Command:
        if self.name == "early":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        if self.name == "broken":
            raise ModuleNotFoundError("No module named 'ground.gone'", name="ground.gone")
        return {"late": needs_numpy_late, "refuses": refuses}[self.name]

    points = {
        name: EntryPoint(name, f"{room}.commands:{name}", cli.GROUP)
        for name, room in {"early": "ground", "late": "hil", "broken": "ground", "refuses": "ground"}.items()
    }
    monkeypatch.setattr(EntryPoint, "load", load)
    monkeypatch.setattr(cli.skyrack, "entry_points", points)


def run(*arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(str(ended.value.code)), ""


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("early", "skyrack early needs fastapi, which is not installed: pip install 'skyrack[ground]'"),
        ("late", "skyrack late needs numpy, which is not installed: pip install 'skyrack[hil]'"),
    ],
)
def test_a_missing_extra_is_named_in_one_sentence(name: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name)[0] == 1
    assert capsys.readouterr().err == f"Error: {sentence}\n"


@pytest.mark.usefixtures("registered")
def test_commands_with_missing_extras_are_listed() -> None:
    listed = CliRunner().invoke(cli.skyrack, ["--help"]).output
    assert "early" in listed
    assert "late" in listed


@pytest.mark.usefixtures("registered")
def test_a_missing_module_of_ours_is_a_defect_and_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError):
        cli.main(["broken"])


@pytest.mark.usefixtures("registered")
def test_bad_input_ends_with_code_2_and_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("refuses")[0] == 2
    assert capsys.readouterr().err == "Error: job.toml: watts is -1: must be a number >= 0\n"


def test_a_mistyped_command_is_answered_with_a_close_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dictionry")[0] == 2
    assert 'did you mean "dictionary"?' in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version")[0] == 0
    assert capsys.readouterr().out.startswith("skyrack ")
    assert run("--help")[0] == 0
    assert "twin" in capsys.readouterr().out


def test_every_registered_command_has_a_summary_so_that_help_imports_nothing() -> None:
    code = (
        "import sys, skyrack.cli as cli\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(cli.skyrack, ['--help']).exit_code == 0\n"
        "heavy = {'flight', 'ground', 'hil', 'numpy', 'google.protobuf', 'rich', 'structlog', 'msgspec'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ended.stdout.strip(), ended.stderr) == ("", "")
