"""How tests call the command line."""

from typing import NamedTuple

import pytest

import akida_jax as aj
from akida_jax import command_line
from tests.samples import small_model


class Result(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys, monkeypatch):
    """Call the command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        capsys.readouterr()
        try:
            code = command_line.call(list(map(str, arguments)))
        except SystemExit as end:  # of tyro: help, and arguments that cannot be read
            code = end.code
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def model(rng, tmp_path, monkeypatch):
    """Save a model as m.akj, and enter its folder."""
    monkeypatch.chdir(tmp_path)
    made = small_model(rng)
    aj.save(made, "m.akj")
    return made
