"""`verge diff`, `view`, `audit`, `changes`, `node --at`, names for shells: against one server, on which all has happened."""

import shutil
import subprocess
import sys

import pytest
import pytest_asyncio

from tests.integration.console.conftest import ROOT, Verge
from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import changed, put

pytestmark = pytest.mark.asyncio(loop_scope="module")

NARROWER = [{"protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "10.0.0.0/8"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(module_database_url, tmp_path_factory):
    async with serving(module_database_url, tmp_path_factory.mktemp("server"), silence_grace_s=3600) as found:
        await found.cloud()
        await found.apply("nc-1", "nc-2", "nc-3")
        clc = found.client((await found.token("cloud", name="clc"))["token"])
        await found.update(changed("i-app", groups=[]), client=clc)
        await found.apply("nc-1")
        await found.update(changed("sg-web", ingress=NARROWER), put("elastic_ip", "203.0.113.2", instance="i-db"))
        yield found


@pytest.fixture
def verge(cloud, tmp_path, capsys):
    return Verge(cloud.url, cloud.admin_token, tmp_path, capsys)


async def test_diff(cloud, verge):
    found = await verge("diff", "1", "2", "--node", "nc-1")
    assert found.out == (
        "1 object differs between revision 1 and 2\n~ instance i-app\n    groups: - sg-app\n"
        "view of nc-1\n  set     instances: i-app\n  unset   groups: sg-app\n  unset   members: sg-web\n"
    )
    later = await verge("diff", "2")
    assert "    ingress: - tcp 80 from 0.0.0.0/0\n    ingress: + tcp 80 from 10.0.0.0/8\n" in later.out
    assert "    instance: none -> i-db\n" in later.out
    same = await verge("diff", "2", "2", "--node", "nc-3")
    assert same.out == "nothing differs between revision 2 and 2\nthe view of nc-3 is the same\n"
    assert (await verge("diff", "2", "--json")).json == (await cloud.admin.get("/v1/diff?from=2")).json()
    assert (await verge("diff", "2", "9")).code == 2


async def test_view_and_model_then(cloud, verge):
    now = (await cloud.admin.get("/v1/nodes/nc-1/view")).json()
    assert (await verge("view", "nc-1")).json == now
    then = (await verge("view", "nc-1", "--revision", "1")).json
    assert then["instances"]["i-app"]["groups"] == ["sg-app"]
    at = (await cloud.admin.get("/v1/updates/1")).json()["at"]
    assert (await verge("view", "nc-1", "--at", at)).json == then
    assert (await verge("model", "--at", at)).json["revision"] == 1
    assert (await verge("view", "nc-9")).code == 2


async def test_who_did_what(verge):
    found = await verge("audit", "--object", "instance/i-app")
    assert [row[0] for row in found.rows[1:]] == ["2", "1"]
    assert found.out.splitlines()[1].endswith("changed  instance/i-app  groups: - sg-app")
    assert "created  instance/i-app" in found.out.splitlines()[2]
    by_clc = (
        await verge("audit", "--actor", (await verge("audit", "--json", "--limit", "2")).json["entries"][-1]["actor"])
    ).rows
    assert [row[0] for row in by_clc[1:]] == ["2"]
    assert (await verge("audit", "--until", "2020-01-01")).out == "no such change is on record\n"
    rows = (await verge("audit", "--since", "1h", "--object", "groups/sg-web", "--json")).json["entries"]
    assert [(one["revision"], one["op"]) for one in rows] == [(3, "change"), (1, "create")]
    assert rows[0]["fields"]["ingress"]["after"] == NARROWER
    assert (await verge("audit", "--since", "soon")).code == 2


async def test_changes_are_picked(verge):
    async def picked(*given):
        return [row[0] for row in (await verge("changes", *given)).rows[1:]]

    assert await picked("--object", "instance/i-app") == ["2", "1"]
    assert await picked("--node", "nc-3") == ["3", "1"]
    assert await picked("--since", "2099-01-01") == []


async def test_what_a_node_enforced_at_a_time(cloud, verge):
    one, two = [(await cloud.admin.get(f"/v1/updates/{number}")).json()["nodes"]["nc-1"] for number in (1, 2)]
    found = await verge("node", "nc-1", "--at", one["applied_at"])
    assert ["enforced", "version", "1"] in found.rows
    assert next(row for row in found.rows if row[:3] == ["made", "so", "by"])[3:5] == ["revision", "1,"]
    assert "verge view nc-1 --revision 1 shows it" in found.out
    later = await verge("node", "nc-1", "--at", two["applied_at"], "--json")
    assert later.json["history"][0]["version"] == 2
    assert "is not known" in (await verge("node", "nc-1", "--at", "2020-01-01")).out
    history = (await verge("node", "nc-1")).out.partition("ENFORCED FROM")[2]
    assert len(history.splitlines()) == 3
    assert "ENFORCED FROM" not in (await verge("node", "nc-1", "--history", "0")).out


SHELLS = {
    "bash": "source <(verge completion bash); COMP_WORDS=(verge {}); COMP_CWORD={}; _verge; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
    "fish": "verge completion fish | source; complete -C 'verge {}'",
}


@pytest.mark.parametrize("shell", SHELLS)
async def test_shells_are_told_names(verge, shell):
    """The script as it is handed out, in the shell that it is for."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    command = verge.directory / "verge"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m verge.console "$@"\n')
    command.chmod(0o755)

    async def completed(*words):
        typed = " ".join(words) or "''"
        script = SHELLS[shell].format(typed, len(words))
        child = await verge.shell(shell, script, command.parent)
        return [line.split("\t")[0] for line in child.out.split("\n") if line]

    assert await completed("node", "nc-") == ["nc-1", "nc-2", "nc-3"]
    assert await completed("audit", "--object", "group/") == ["group/sg-app", "group/sg-idle", "group/sg-web"]


async def test_completion_keeps_still_where_there_is_no_server(verge):
    found = await verge.process("complete", "--", "node", "", VERGE_URL="http://127.0.0.1:9", VERGE_TOKEN="x")
    assert (found.code, found.out, found.err) == (0, "", "")
    unwilling = await verge.process("complete", "--", "node", "", VERGE_TOKEN="wrong")
    assert (unwilling.code, unwilling.out, unwilling.err) == (0, "", "")


async def test_scripts_are_what_their_shells_can_read():
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell) is None:
            continue
        command = [sys.executable, "-m", "verge.console", "completion", shell]
        path = {"PYTHONPATH": str(ROOT / "services")}
        made = subprocess.run(command, capture_output=True, check=True, env=path)
        checked = subprocess.run([shell, "-n"], input=made.stdout, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b"")
