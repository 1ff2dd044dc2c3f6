"""What is behind a node and a change; and what is kept of the past."""

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.served import group
from tests.browser.test_dashboard import signed_in

FAILURE = {"object": "groups/sg-web", "stage": "ruleset", "reason": "the kernel has no set type for protocol 132"}
CHECK = {
    "check": "br-netfilter",
    "ok": False,
    "severity": "failing",
    "found": "not loaded",
    "needed": "loaded",
    "remedy": "modprobe br_netfilter",
}
DRIFT = {
    "at": "2026-01-01T00:00:00Z",
    "what": "table bridge verge was flushed",
    "culprit": "nft, pid 812",
    "repaired_ms": 18,
}


def test_a_node_with_its_past(page, three, agents):
    signed_in(page, three)
    agents.obeys["nc-3"] = {"state": "rejected", "failures": [FAILURE], "preflight": [CHECK], "drift": [DRIFT]}
    revision = three.update(group("sg-web", 80, 8081), wait=False)
    page.until(lambda: page.rows("#attention") != [], "a row")
    page.until(lambda: sum("nc-3" in row for row in page.rows("#happenings")) == 3, "three happenings")
    drift = next(row for row in page.rows("#happenings") if "drift" in row)
    assert all(word in drift for word in ("flushed", "by nft, pid 812", "repaired in 18 ms"))
    page.shoot("happenings")

    page.one("#attention tbody button").click()
    page.until_says("What it enforced", "#detail-body")
    text = page.text("#detail-body")
    assert all(
        word in text for word in (*FAILURE.values(), "br-netfilter", "modprobe br_netfilter", "i-00000002", "clc")
    )
    page.driver.find_element(By.XPATH, "//summary[starts-with(., 'Its view')]").click()
    page.until_says("10.1.0.13", "#detail-body")
    page.shoot("node-detail")

    page.driver.find_element(
        By.XPATH, "//dialog//section[h3[starts-with(., 'What it enforced')]]//button[text()='1']"
    ).click()
    page.until_says("Revision 1", "#detail-title")  # the change that made it so
    page.one("#detail").send_keys(Keys.ESCAPE)
    page.until(lambda: page.rows("#changes")[0].startswith(f"{revision} "), "a row")
    page.one("#changes tbody button").click()
    page.until_says("Who rejected it", "#detail-body")
    assert FAILURE["reason"] in page.text("#detail-body")
    assert page.complaints() == []


def test_the_last_hour_and_when_nodes_were_told(page, three):
    signed_in(page, three)
    page.until_says("nothing is known of 59 minutes", "#hour-words")
    assert len(page.all("#hour canvas")) == 2
    three.update(group("sg-web", 80, 8085))
    page.until(
        lambda: "told: half within" in (page.one("#changes tbody .waterfall").get_attribute("aria-label") or ""),
        "when nodes were told",
    )


def test_dark_by_choice(page, three):
    signed_in(page, three)
    page.one("#theme").click()
    page.one("#theme").click()
    assert page.text("#theme") == "Theme: dark"
    back = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(20, 23, 26)"
    page.driver.refresh()
    page.until_says("in force on all 3 nodes", "#headline")
    assert page.text("#theme") == "Theme: dark", "the browser remembers"
    page.driver.execute_script("localStorage.clear()")
