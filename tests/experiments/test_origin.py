import pytest
import rich.console

from experiments.training import origin


@pytest.fixture
def at(monkeypatch):
    """Let the code be at a given commit."""

    def at(commit):
        monkeypatch.setattr(origin, "describe_code", lambda: commit)

    at("aaaa")
    return at


def check(folder, data="data"):
    """Return the code of a run and what was printed about it."""
    console = rich.console.Console(width=500, force_terminal=True)
    with console.capture() as capture:
        code = origin.check_origin(folder, data, console)
    return code, capture.get()


@pytest.fixture(params=[origin.CHECKPOINTS, origin.RESULT])
def begun(request, at, tmp_path):
    """Folder of a run, half finished or finished, of the data "data" and the code "aaaa"."""
    folder = tmp_path / "run"
    code, printed = check(folder)
    assert (code, printed, folder.exists()) == (["aaaa"], "", False)
    origin.write_origin(folder, "data", code)
    (folder / request.param).mkdir()
    return folder


def test_the_same_data_and_code_say_nothing(begun):
    assert check(begun) == (["aaaa"], "")


def test_other_data_are_refused_with_a_remedy(begun):
    message = "fingerprint data, now new; remove that folder, choose another --output, or add"
    with pytest.raises(ValueError, match=message):
        check(begun, "new")


def test_data_that_were_not_recorded_are_refused(begun):
    (begun / origin.RECORD).unlink()
    with pytest.raises(ValueError, match="other data: fingerprint None, now data"):
        check(begun)


def test_other_code_is_told_of_in_yellow(begun, at):
    at("bbbb")
    code, printed = check(begun)
    assert code == ["aaaa", "bbbb"]
    assert "\x1b[33mwarning:" in printed
    at("cccc")
    origin.write_origin(begun, "data", code)
    code, printed = check(begun)
    assert code == ["aaaa", "bbbb", "cccc"]
    assert "stems from commit aaaa, bbbb; the code is now at cccc" in printed


def test_what_was_not_begun_may_take_other_data(begun):
    for name in (origin.CHECKPOINTS, origin.RESULT):
        if (begun / name).exists():
            (begun / name).rmdir()
    assert check(begun, "new") == (["aaaa"], "")
