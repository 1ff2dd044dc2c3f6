"""How it looks: many nodes, a phone, dark, a path prefix. VERGE_SCREENSHOTS=DIR keeps pictures to be looked at."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browser.served import cloud, group, instance, put
from tests.browser.test_dashboard import signed_in

MANY = tuple(f"nc-{number}" for number in range(1, 301))
PHONE = (375, 720)


@pytest.fixture
def history(three):
    """Three nodes and something to tell of."""
    three.update(group("sg-db", 5432))
    three.update(instance("i-0000db01", "nc-2", 50, "sg-db"))
    three.update(put("elastic_ip", "203.0.113.1", instance="i-00000000"))
    three.update(group("sg-web", 80, 443))
    three.update(
        {"op": "delete", "kind": "instance", "id": "i-0000db01"}, {"op": "delete", "kind": "group", "id": "sg-db"}
    )
    return three


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_three_nodes(page, history, scheme):
    page.media(scheme)
    signed_in(page, history)
    page.until(lambda: len(page.rows("#changes")) == 6, "six changes")
    dark = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in dark.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness < 200) == (scheme == "dark")
    assert page.wider_than_the_screen() == []
    page.shoot(f"three-{scheme}")
    for width in (800, 1000):
        page.size(width, 900)
        page.until(lambda: page.wider_than_the_screen() == [], "nothing sticks out")
    page.shoot(f"three-{scheme}-tablet")


def test_a_phone(page, history, agents):
    page.size(*PHONE)
    signed_in(page, history)
    failure = {"object": "groups/sg-web", "stage": "ruleset", "reason": "the kernel has no set type for protocol 132"}
    agents.obeys["nc-3"] = {"state": "rejected", "failures": [failure]}
    history.update(group("sg-web", 80, 8443), wait=False)
    page.until(lambda: "protocol 132" in "".join(page.rows("#attention")), "the reason")
    assert page.wider_than_the_screen() == []
    page.shoot("phone")
    page.driver.execute_script("document.querySelector('#changes').scrollIntoView()")
    page.shoot("phone-changes")
    page.one("#attention tbody button").click()
    page.until_says("protocol 132", "#detail-body")
    assert page.wider_than_the_screen() == []
    page.shoot("phone-detail")


def test_three_hundred_nodes(page, served, agents):
    served.update(*cloud(*MANY), wait=False)
    agents.start(*MANY)
    signed_in(page, served)
    page.until_says("in force on all 300 nodes", "#headline")
    page.until(lambda: len(page.all(".cell")) == 300, "300 cells")
    failure = {"object": "groups/sg-web", "stage": "ruleset", "reason": "the kernel has no set type for protocol 132"}
    agents.obeys["nc-17"] = {"state": "degraded", "failures": [failure]}
    agents.obeys["nc-120"] = {"state": "rejected", "failures": [failure]}
    agents.obeys["nc-203"] = "nothing"
    agents.silence("nc-77")
    served.update(group("sg-web", 80, 443), wait=False)
    page.until_says("296 of 300 nodes converged", "#headline")
    page.until(lambda: len(page.rows("#attention")) == 4, "four need attention")
    page.until(lambda: "296" in page.text("#legend"), "counted")
    assert page.wider_than_the_screen() == []
    page.until(lambda: "297 of 300 nodes" in page.rows("#changes")[0], "degraded has applied")
    page.shoot("many")
    cut = page.driver.execute_script(  # at one stroke: what is drawn anew in between is not what was found
        "return [...document.querySelectorAll('.cell .name')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => e.textContent)"
    )
    assert cut == [], "no name is cut off"
    page.size(*PHONE)
    page.until(lambda: page.wider_than_the_screen() == [], "the phone has no need to scroll sideways")
    page.shoot("many-phone")


class _Prefixed(BaseHTTPRequestHandler):
    """What a reverse proxy does: /verge/… is the server's /…, streamed."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        if not self.path.startswith("/verge/"):
            return self.send_error(404)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream)
        kept = {name: one for name, one in self.headers.items() if name.lower() == "authorization"}
        upstream.request("GET", self.path.removeprefix("/verge"), headers=kept)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, one in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, one)
        self.end_headers()
        while chunk := answer.read1(65536):
            self.wfile.write(chunk)
            self.wfile.flush()
        return None

    def log_message(self, *_):
        pass


def test_it_works_behind_a_path_prefix(page, three):
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Prefixed)
    proxy.daemon_threads = True
    proxy.upstream = three.port
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        page.open(f"http://127.0.0.1:{proxy.server_port}/verge/").sign_in(three.token("operator", name="olga"))
        page.until_says("in force on all 3 nodes", "#headline")
        revision = three.update(group("sg-web", 80, 443))
        page.until(lambda: page.rows("#changes")[0].startswith(f"{revision} "), "live through the proxy")
        page.one("#changes tbody button").click()
        page.until_says("3 of 3 nodes", "#detail-body")
    finally:
        page.close()
        proxy.shutdown()
        proxy.server_close()
