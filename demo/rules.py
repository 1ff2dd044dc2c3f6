"""Connectivity and security groups: nothing before the cloud has spoken, then what the rules say, and a revocation."""

from demo.network import DB_RULES, db_group, instances, nodes, put, rule
from demo.stage import Stage
from lab.flows import Flow
from lab.session import Session, Side


def closed_before_anything_is_known(stage: Stage) -> None:
    stage.screen.step("Six VMs are plugged in; the cloud has said nothing of them yet")
    stage.told(stage.cloud.post(nodes(stage.setting)))
    stage.screen.note("A port that no view names passes nothing. The hypervisor itself stays connected.")
    stage.expect(
        passes=[Flow.icmp(stage.lab["nc-1"], stage.lab["router"], stage.setting.router)],
        blocked=[stage.tcp("web-1", "app-1", 8000), stage.ping("app-1", "web-2"), stage.from_outside("web-1", 80)],
    )


def instances_get_connectivity(stage: Stage) -> None:
    stage.screen.step("One POST: four security groups and six instances")
    stage.told(stage.cloud.post(instances(stage.vms.values())))
    for name in stage.vms:
        # whom it asked for before, in vain, a guest's stack reports as unreachable three seconds later: not what is shown here
        stage.host(name).run("ip", "neigh", "flush", "all")
    stage.expect(
        passes=[
            stage.ping("app-1", "web-2"),
            stage.tcp("web-1", "app-1", 8000),
            stage.tcp("web-1", "app-2", 8000),
            stage.tcp("app-2", "db", 5432),
        ],
        blocked=[
            stage.from_outside("app-1", 8000),
            stage.tcp("web-1", "db", 5432),
            stage.tcp("guest", "app-2", 8000),
            stage.tcp("guest", "db", 5432),
            stage.ping("web-1", "guest"),
        ],
    )


def a_rule_is_opened_and_revoked(stage: Stage) -> None:
    stage.screen.step("A rule is opened: guest may ask db")
    guest_may = rule("tcp", 5432, cidr=f"{stage.vm('guest').ip}/32")
    stage.told(stage.cloud.post([put("group", "sg-db", db_group(*DB_RULES, guest_may))]))
    stage.explained("guest", "db", 5432, "allowed, in force")
    stage.expect(passes=[stage.tcp("guest", "db", 5432)], blocked=[stage.tcp("web-1", "db", 5432)])
    guest, app, db = (stage.host(name) for name in ("guest", "app-1", "db"))
    with (
        Session.tcp(guest, db, stage.vm("db").ip, 5432) as doomed,
        Session.tcp(app, db, stage.vm("db").ip, 5432) as neighbour,
    ):
        stage.screen.note("guest and app-1 now each hold an open session with db.")
        stage.screen.step("The rule is revoked while both sessions run")
        stage.told(stage.cloud.post([put("group", "sg-db", db_group(*DB_RULES))]))
        stage.explained("guest", "db", 5432, "denied, in force")
        for side in Side:
            who = "guest sends to db" if side is Side.CLIENT else "db sends to guest"
            stage.said(f"open session: {who}", "dead", "alive" if doomed.passes(side) else "dead")
        for side in Side:
            who = "app-1 sends to db" if side is Side.CLIENT else "db sends to app-1"
            stage.said(f"its neighbour: {who}", "alive", "alive" if neighbour.passes(side) else "dead")
    stage.expect(passes=[stage.tcp("app-1", "db", 5432)], blocked=[stage.tcp("guest", "db", 5432)])
