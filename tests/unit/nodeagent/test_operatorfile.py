"""The operators' file may speak of their objects in our tables, and of nothing else."""

import pytest

from nodeagent.nft.operatorfile import OperatorFileInvalid, commands
from nodeagent.state.ownership import BRIDGE, IP


def test_commands_by_table_in_order():
    text = """
# who may do what
add set ip verge operator_admins { type ipv4_addr; flags interval;
    elements = { 10.0.0.0/24,   # the office
                 10.9.0.1 }
}
add rule ip verge operator_pre \\
    ip saddr @operator_admins tcp dport 22 accept comment "a # and a ; are text"; flush chain bridge verge_l2 operator_pre
insert rule bridge verge_l2 operator_pre ether type ip6 drop
"""
    found = commands(text)
    assert list(found) == [IP, BRIDGE]
    assert found[BRIDGE] == (
        "flush chain bridge verge_l2 operator_pre\ninsert rule bridge verge_l2 operator_pre ether type ip6 drop\n"
    )
    first, _, second = found[IP].partition("}\n}\n")
    assert first.startswith("add set ip verge operator_admins { type ipv4_addr;")
    assert second.endswith('tcp dport 22 accept comment "a # and a ; are text"\n')


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table ip verge",
        "flush table ip verge",
        'include "/etc/passwd"',
        "define x = 1",
        "add rule ip verge to_vm accept",
        "add rule ip filter operator_pre accept",
        "add rule inet verge operator_pre accept",
        "add rule verge operator_pre accept",
        "table ip verge { chain operator_pre { accept; } }",
        "add rule ip verge operator_pre accept; flush ruleset",
        "add element ip verge local4 { 10.0.0.1 }",
    ],
)
def test_whatever_else_is_refused_with_its_line(command):
    with pytest.raises(OperatorFileInvalid, match=r"^line 3: "):
        commands(f"add rule ip verge operator_pre accept\n\n{command}\n")
