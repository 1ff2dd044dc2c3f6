"""The command line: where the server is, options in either place, help and completion that know every command."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest

from verge.console.__main__ import main, parser
from verge.console.arguments import moment, spelled
from verge.console.completion import candidates
from verge.console.outcome import Misused
from verge.console.server import Address, Server, segment


@pytest.mark.parametrize(
    ("text", "shown", "socket"),
    [
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470", None),
        ("http://127.0.0.1:8470/", "http://127.0.0.1:8470", None),
        ("verge.example:8470", "http://verge.example:8470", None),
        ("https://verge.example/edge/", "https://verge.example/edge", None),
        ("http://[::1]:8470", "http://[::1]:8470", None),
        ("unix:/run/verge.sock", "unix:/run/verge.sock", "/run/verge.sock"),
        ("unix:verge.sock", "unix:verge.sock", "verge.sock"),
    ],
)
def test_where_the_server_is(text, shown, socket):
    found = Address.parse(text)
    assert (str(found), found.socket) == (shown, socket)


@pytest.mark.parametrize(
    "text", ["", "unix:", "ftp://x", "http://", "http://a b", "http://x:port", "http://x?y", "http://u:p@x"]
)
def test_what_is_no_url(text):
    with pytest.raises(Misused):
        Address.parse(text)


@pytest.mark.parametrize("token", ["two words", "new\nline", "ümlaut", "\x1b"])
def test_what_is_no_token(token):
    with pytest.raises(Misused, match="characters that no token has"):
        Server(Address.parse("http://x"), token)


def test_a_name_stays_one_segment_of_the_path():
    assert segment("nc/../1?x#y z") == "nc%2F..%2F1%3Fx%23y%20z"


def test_options_stand_before_the_command_or_behind_it():
    for given in (
        ["--json", "--url", "u", "status"],
        ["status", "--url", "u", "--json"],
        ["--url", "u", "status", "--json"],
    ):
        found = parser().parse_args(given)
        assert (found.url, found.json, found.token) == ("u", True, None)
    assert parser().parse_args(["--url", "a", "status", "--url", "b"]).url == "b"


@pytest.mark.parametrize(
    ("given", "wait", "file"),
    [
        (["apply", "f"], None, "f"),
        (["apply", "f", "--wait"], 30.0, "f"),
        (["apply", "--wait", "f"], 30.0, "f"),
        (["apply", "--wait", "-"], 30.0, "-"),
        (["apply", "--wait", "5", "f"], 5.0, "f"),
        (["apply", "f", "--wait", "0.5"], 0.5, "f"),
        (["apply", "f", "--wait=7"], 7.0, "f"),
        (["apply", "f", "--wait", "--dry-run"], 30.0, "f"),
    ],
)
def test_wait_takes_seconds_or_none(given, wait, file):
    found = parser().parse_args(spelled(given))
    assert (found.wait, found.file) == (wait, file)


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["frobnicate"],
        ["wait"],
        ["wait", "-1"],
        ["wait", "soon"],
        ["wait", "1", "--timeout", "nan"],
        ["wait", "1", "--timeout", "-1"],
        ["wait", "1", "--quorum", "0"],
        ["wait", "1", "--quorum", "1.1"],
        ["apply"],
        ["apply", "f", "--if-match", "x"],
        ["apply", "f", "--key", ""],
        ["apply", "f", "--key", "ü"],
        ["nodes", "--state", "odd"],
        ["token"],
        ["token", "create"],
        ["token", "create", "--role", "king"],
        ["import"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_usage_is_exit_2(given, capsys):
    with pytest.raises(SystemExit) as left:
        main(given)
    assert left.value.code == 2
    assert "usage: verge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["token", "create", "--role", "node"], "--role node needs --node N"),
        (["token", "create", "--role", "cloud", "--node", "nc-1"], "--role node needs --node N"),
        (["apply", "/nowhere/at/all"], "/nowhere/at/all cannot be read: No such file or directory"),
        (["apply", "/"], "/ cannot be read: Is a directory"),
        (["--token-file", "/nowhere", "status"], "token file /nowhere cannot be read"),
        (["--url", "ftp://x", "status"], "the URL 'ftp://x' is none"),
    ],
)
def test_misuse_is_one_line_and_exit_2(given, message, capsys):
    assert main(given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("verge: ")
    assert err.count("\n") == 1


def paths(found=None, path=()):
    found = found or parser()
    nested = [one for action in found._actions if isinstance(action.choices, dict) for one in action.choices.items()]
    yield path
    for name, below in nested:
        yield from paths(below, (*path, name))


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_command_has_help(path, capsys):
    with pytest.raises(SystemExit) as left:
        main([*path, "--help"])
    assert left.value.code == 0
    assert f"usage: verge {' '.join(path)}".rstrip() in capsys.readouterr().out


KNOWN = {"nodes": ["nc-1", "nc-2"], "revisions": ["41", "42"], "objects": ["instance/i-1"], "instances": ["i-1"]}


def completed(*words):
    """What a shell is told may become of the last word."""
    return candidates(parser(), words, lambda what, begin: [one for one in KNOWN[what] if one.startswith(begin)])


def test_commands_options_and_choices_are_completed():
    assert completed("st") == ["status"]
    assert completed("--url", "status", "im") == ["import"]
    assert completed("import", "") == ["gni", "model", "network"]
    assert completed("import", "gni", "--pr") == ["--prune"]
    assert completed("--json", "token", "create", "--role", "op") == ["operator"]
    assert completed("nodes", "--state", "never") == ["never-seen"]
    assert completed("nodes", "--state=never") == ["--state=never-seen"]
    assert "complete" not in completed("")


def test_names_are_completed_where_they_are_meant():
    assert completed("node", "") == ["nc-1", "nc-2"]
    assert completed("node", "--json", "nc-2") == ["nc-2"]
    assert completed("node", "nc-1", "") == []
    assert completed("diff", "41", "4") == ["41", "42"]
    assert completed("diff", "41", "--node", "nc-1") == ["nc-1"]
    assert completed("audit", "--object=inst") == ["--object=instance/i-1"]
    assert completed("explain", "i-1", "i") == ["i-1"]
    for files in (("apply", "some-fi"), ("apply", "--token-file", "x"), ("audit", "--actor", "x")):
        assert completed(*files) == []


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("90s", timedelta(seconds=90)),
    ],
)
def test_how_long_ago(text, most):
    before = datetime.now(UTC)
    found = datetime.fromisoformat(moment(text))
    assert before - most <= found <= datetime.now(UTC) - most


def test_times_have_an_offset():
    assert moment("2026-01-31T12:03:00+01:00") == "2026-01-31T12:03:00+01:00"
    assert moment("2026-01-31 12:03") == "2026-01-31T12:03:00+00:00"
    assert moment("9:05").endswith("T09:05:00+00:00")
    for wrong in ("soon", "1w", "25:00", ""):
        with pytest.raises(ArgumentTypeError, match="no time"):
            moment(wrong)
