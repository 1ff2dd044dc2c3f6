"""Settings from the command line and the environment, with every fault at once."""

import argparse
from pathlib import Path

import pytest

from nodeagent.settings import ApiAddress, Settings, SettingsInvalid, add_arguments, read
from nodeagent.state.limits import Limits

FULL = [
    *("--node", "nc-1", "--server", "http://a:8470", "http://b:8470/", "--token-file", "/etc/verge/token"),
    *("--state-dir", "/var/lib/verge", "--bridge", "br0", "--public-interface", "eth0"),
]


def settings(arguments: list[str], **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read(parser.parse_args(arguments), environment)


def faults(arguments: list[str], **environment: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as invalid:
        settings(arguments, **environment)
    return invalid.value.faults


def test_the_command_line_alone():
    assert settings(FULL) == Settings(
        node="nc-1",
        servers=("http://a:8470", "http://b:8470"),
        token_file=Path("/etc/verge/token"),
        state_dir=Path("/var/lib/verge"),
        bridge="br0",
        public_interface="eth0",
        ports="vn_*",
        api=ApiAddress(path=Path("/var/lib/verge/agent.sock")),
    )


def test_the_environment_alone_gives_the_same():
    environment = {
        "VERGE_NODE": "nc-1",
        "VERGE_SERVER": "http://a:8470, http://b:8470",
        "VERGE_TOKEN_FILE": "/etc/verge/token",
        "VERGE_STATE_DIR": "/var/lib/verge",
        "VERGE_BRIDGE": "br0",
        "VERGE_PUBLIC_INTERFACE": "eth0",
    }
    assert settings([], **environment) == settings(FULL)


def test_the_command_line_wins():
    assert settings(FULL, VERGE_NODE="nc-2", VERGE_SERVER="http://c:1").node == "nc-1"
    assert settings(FULL, VERGE_SERVER="http://c:1").servers == ("http://a:8470", "http://b:8470")


def test_limits_have_defaults_and_can_be_taken_away():
    assert settings(FULL).limits == Limits()
    given = ["--flows-per-instance", "0", "--arp-per-second", "7"]
    assert settings([*FULL, *given], VERGE_DHCP_PER_SECOND="3", VERGE_ARP_PER_SECOND="8").limits == Limits(
        flows=0, arp=7, dhcp=3
    )
    assert faults([*FULL, "--flows-per-instance", "-1", "--dhcp-per-second", "many"]) == [
        "--flows-per-instance '-1' is no number from 0 (no limit) to 1000000",
        "--dhcp-per-second 'many' is no number from 0 (no limit) to 1000000",
    ]


def test_transit_is_left_alone_or_dropped():
    assert settings(FULL).transit
    assert not settings([*FULL, "--transit", "drop"]).transit
    assert not settings(FULL, VERGE_TRANSIT="drop").transit
    assert faults([*FULL, "--transit", "no"]) == ["--transit 'no' is neither leave nor drop"]


def test_server_may_be_repeated_and_a_unix_socket():
    given = [*FULL, "--server", "unix:/run/verge.sock"]
    assert settings(given).servers == ("http://a:8470", "http://b:8470", "unix:/run/verge.sock")


def test_without_a_server_no_token_is_needed():
    arguments = ["--node", "nc-1", "--state-dir", "/s", "--bridge", "br0", "--public-interface", "br0"]
    assert (settings(arguments).servers, settings(arguments).token_file) == ((), None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/agent.sock", ApiAddress(path=Path("/run/agent.sock"))),
        ("127.0.0.1:8471", ApiAddress(host="127.0.0.1", port=8471)),
        ("localhost:0", ApiAddress(host="localhost", port=0)),
        ("[::1]:8471", ApiAddress(host="::1", port=8471)),
    ],
)
def test_api_addresses(text, address):
    assert settings([*FULL, "--api", text]).api == address


def test_everything_missing_is_said_at_once():
    named = [fault.split()[0] for fault in faults([])]
    assert named == ["--node", "--bridge", "--public-interface", "--state-dir"]
    assert "--token-file" in faults(FULL[:4])[-1]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--node", "nc 1", "DNS label"),
        ("--bridge", "a-bridge-with-a-long-name", "name of the bridge"),
        ("--public-interface", "eth0/1", "name of a link"),
        ("--server", "a:8470", "is not http://HOST:PORT"),
        ("--server", "http://a:port", "is not http://HOST:PORT"),
        ("--server", "unix:relative", "unix:/PATH"),
        ("--ports", "*vn", "pattern"),
        ("--ports", "vn_x", "pattern"),
        ("--api", "0.0.0.0:8471", "loopback"),
        ("--api", "127.0.0.1:x", "port is a number"),
        ("--api", "127.0.0.1:70000", "port is a number"),
        ("--api", "unix:/" + "x" * 107, "1 to 107 bytes"),
    ],
)
def test_each_bad_value_is_named(option, value, said):
    found = faults([*FULL, option, value])
    assert len(found) == 1
    assert option in found[0]
    assert said in found[0]


@pytest.mark.parametrize("name", ["deltas", "self_test"])
def test_switches_are_on_unless_told_otherwise(name):
    option, variable = "--" + name.replace("_", "-"), f"VERGE_{name.upper()}"
    assert getattr(settings(FULL), name) is True
    assert getattr(settings([*FULL, option, "off"]), name) is False
    assert getattr(settings(FULL, **{variable: "off"}), name) is False
    assert getattr(settings([*FULL, option, "on"], **{variable: "off"}), name) is True
    assert faults([*FULL, option, "maybe"]) == [f"{option} 'maybe' is neither on nor off"]
