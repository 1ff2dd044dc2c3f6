"""The steps, in order."""

from demo import addresses, failures, rules
from demo.stage import Stage


def tell(stage: Stage) -> None:
    rules.closed_before_anything_is_known(stage)
    rules.instances_get_connectivity(stage)
    rules.a_rule_is_opened_and_revoked(stage)
    addresses.an_elastic_ip_moves(stage)
    addresses.metadata_is_fetched(stage)
    addresses.an_address_is_had_by_dhcp(stage)
    failures.an_agent_is_killed_and_comes_back(stage)
    failures.a_node_is_frozen(stage)
    failures.the_view_server_is_killed_and_comes_back(stage)
