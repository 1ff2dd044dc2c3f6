"""What the self-test's packets are, and what arriving ones mean."""

import struct

import pytest

from lab.frames import IPV4, UDP, checksum, read
from nodeagent import probes
from nodeagent.state import scratch
from nodeagent.state.host import HostFacts

PAIR = scratch.pair("vn_*")
assert PAIR
TOKEN = b"fifteen bytes.."


def test_packets_differ_in_the_one_thing_that_is_wrong_with_them():
    one, two = PAIR
    frames = {kind: read(raw) for kind, raw in probes.frames(PAIR, TOKEN, 5000).items()}
    other = two.address + 1
    assert {kind: (frame.src, frame.dst, frame.dport) for kind, frame in frames.items()} == {
        "ahead": (one.address, two.address, 7),
        "spoofed": (other, two.address, 7),
        "unallowed": (one.address, two.address, 8),
        "misdirected": (one.address, other, 7),
        "behind": (one.address, two.address, 7),
    }
    assert len({frame.sport for frame in frames.values()}) == len(frames), "none is judged by another's stamp"
    for frame in frames.values():
        assert (frame.src_mac, frame.dst_mac) == (one.mac, two.mac)
        assert (frame.ethertype, frame.protocol) == (IPV4, UDP)
        assert checksum(frame.raw[14:34]) == 0
        pseudo = frame.src.packed + frame.dst.packed + struct.pack("!HH", UDP, len(frame.payload))
        assert checksum(pseudo + frame.payload) == 0


def test_packets_are_known_again_whatever_was_rewritten_and_those_of_another_run_are_not():
    for kind, raw in probes.frames(PAIR, TOKEN, 5000).items():
        assert probes.kind_of(b"\xff" * 42 + raw[42:], TOKEN) == kind
        assert probes.kind_of(raw, b"another run's .") is None
    assert probes.kind_of(b"", TOKEN) is None
    assert probes.kind_of(TOKEN + b"\xff", TOKEN) is None


def test_the_verdict():
    passed = {"ahead", "behind"}
    assert probes.judged(passed, "br0") == ("passed", None)
    for lost in (set(), {"ahead"}, {"behind"}):
        assert probes.judged(lost, "br0")[0] == "loses"
    for wrong in ("spoofed", "unallowed", "misdirected"):
        assert probes.judged({*passed, wrong}, "br0")[0] == "leaks"
        assert probes.judged({wrong}, "br0")[0] == "leaks", "that not all arrives excuses nothing"
    _, reason = probes.judged({"spoofed", "unallowed", *passed}, "br7")
    assert reason
    assert "source address" in reason
    assert "nf_call_iptables of br7" in reason


@pytest.mark.parametrize("pattern", ["vn_*", "tap*", "thirteen_____*"])
def test_scratch_ports_match_the_pattern_and_no_instance_can_have_their_names(pattern):
    facts, both = HostFacts("br0", "br0", pattern), scratch.pair(pattern)
    assert both
    for port in both:
        assert facts.is_port(port.name)
        assert facts.is_scratch(port.name)
        assert not facts.is_port(port.peer)
        assert max(len(port.name), len(port.peer)) <= 15
        assert "~" in port.name


def test_a_pattern_without_room_for_them():
    assert scratch.pair("fourteen______*") is None
    assert scratch.instances("fourteen______*") == ()
    assert scratch.group("fourteen______*") == ()
    assert not HostFacts("br0", "br0", "fourteen______*").is_scratch("fourteen______")
