"""What an operator sees, and when."""

from selenium.webdriver.common.keys import Keys

from tests.browser.served import group


def signed_in(page, served):
    page.open(served.url + "/").sign_in(served.token("operator", name="olga"))
    page.until_says("Converged", "#headline")
    return page


def test_nothing_is_shown_until_someone_signs_in(page, three):
    page.open(three.url + "/")
    page.until_says("Sign in")
    assert "nc-1" not in page.driver.page_source
    assert not page.one("#cloud").is_displayed()
    page.shoot("sign-in")

    page.sign_in("verge_not-a-token")
    page.until_says("refused", "#token-fault")
    assert not page.one("#cloud").is_displayed()

    page.sign_in(three.token("cloud", name="clc"))
    page.until_says("operator", "#token-fault")  # the cloud may not see the nodes, and the reason is given
    assert "nc-1" not in page.driver.page_source

    page.sign_in(three.token("operator", name="olga"))
    page.until_says("in force on all 3 nodes", "#headline")
    assert three.token("operator") not in page.driver.current_url
    assert [entry for entry in page.complaints() if "401" not in entry and "403" not in entry] == []

    page.driver.refresh()  # the tab remembers
    page.until_says("in force on all 3 nodes", "#headline")
    page.one("#sign-out").click()
    page.until_says("Sign in")
    assert "nc-1" not in page.driver.page_source
    page.driver.refresh()
    page.until_says("Sign in")


def test_a_revoked_token_ends_the_session(page, three):
    signed_in(page, three)
    mine = next(one for one in three.ask("GET", "/v1/tokens")["tokens"] if one["role"] == "operator")
    three.ask("DELETE", f"/v1/tokens/{mine['id']}")
    page.until_says("refused", "#token-fault")
    assert "nc-1" not in page.driver.page_source


def test_a_change_appears_without_reload(page, three):
    signed_in(page, three)
    page.until(lambda: [cell.text for cell in page.all(".cell .name")] == ["nc-1", "nc-2", "nc-3"], "three cells")
    revision = three.update(group("sg-web", 80, 443))
    page.until(lambda: page.rows("#changes")[0].startswith(f"{revision} "), "a row for the change")
    page.until(lambda: "3 of 3 nodes" in page.rows("#changes")[0], "its nodes")
    assert all(word in page.rows("#changes")[0] for word in ("clc", "sg-web", "ms"))
    page.until_says(f"revision {revision} is in force on all 3 nodes", "#headline")
    page.until(lambda: all(f"version {revision}" in cell.text for cell in page.all(".cell")), "versions in the cells")
    assert page.complaints() == []
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert names
    assert all(name.startswith(three.url) for name in names), "no other host is asked"


def test_a_node_that_lags_and_one_that_is_silent_are_named(page, three, agents):
    signed_in(page, three)
    agents.obeys["nc-2"] = "nothing"
    revision = three.update(group("sg-web", 80, 8443), wait=False)
    page.until_says("2 of 3 nodes converged", "#headline")
    page.until_says("nc-2 is lagging", "#subline")
    page.until(lambda: page.rows("#attention") != [], "a row")
    row = page.rows("#attention")[0]
    assert "nc-2" in row
    assert f"its view is at {revision}" in row
    assert "1 version" in row
    page.until(lambda: "2 of 3 nodes not nc-2" in page.rows("#changes")[0], "the change is not everywhere")
    page.shoot("lagging")

    agents.silence("nc-2")
    page.until_says("nc-2 is silent", "#subline")
    page.until(lambda: "not heard of since" in page.rows("#attention")[0], "the reason")
    assert "ago" in page.rows("#attention")[0]
    page.shoot("silent")

    del agents.obeys["nc-2"]
    agents.start("nc-2")
    page.until_says("in force on all 3 nodes", "#headline")
    page.until(lambda: not page.one("#attention").is_displayed(), "nothing needs attention")


def test_a_rejected_node_shows_the_object_and_the_reason(page, three, agents):
    signed_in(page, three)
    failure = {"object": "groups/sg-web", "stage": "ruleset", "reason": "the kernel has no set type for protocol 132"}
    agents.obeys["nc-3"] = {"state": "rejected", "failures": [failure]}
    three.update(group("sg-web", 80, 8081), wait=False)
    page.until(lambda: page.rows("#attention") != [], "a row")
    page.until(
        lambda: all(
            word in page.rows("#attention")[0] for word in ("nc-3", "rejected", *failure.values()) if word != "ruleset"
        ),
        "why",
    )
    page.until_says("nc-3 rejected its view", "#subline")

    page.one("#attention tbody button").click()
    page.until_says("the kernel has no set type", "#detail-body")
    assert "ruleset" in page.text("#detail-body")
    page.shoot("rejected-detail")
    page.one("#detail").send_keys(Keys.ESCAPE)
    page.until(lambda: not page.one("#detail").is_displayed(), "the dialog is closed")
    page.shoot("rejected")

    agents.obeys["nc-3"] = {"state": "degraded", "failures": [failure]}
    three.update(group("sg-web", 80, 8082), wait=False)
    page.until(lambda: "degraded" in page.rows("#attention")[0], "degraded")
    page.until(lambda: "closed on nc-3" in page.rows("#changes")[0], "the change has an exception")


def test_a_change_tells_of_each_node(page, three):
    signed_in(page, three)
    revision = three.update(group("sg-web", 80, 8083))
    page.until(lambda: page.rows("#changes")[0].startswith(f"{revision} "), "a row")
    page.one("#changes tbody button").click()
    page.until_says("3 of 3 nodes", "#detail-body")
    text = page.text("#detail-body")
    assert all(word in text for word in ("nc-1", "nc-2", "nc-3", "p99", "apply 6 ms", "sg-web", "clc"))
    page.shoot("change-detail")


def test_the_server_restarts_while_the_page_is_open(page, three):
    signed_in(page, three)
    three.stop()
    page.until_says("does not answer", "#away")
    page.until_says("was true", "#away")
    assert "nc-1" in page.text("#nodes"), "the last data stay"
    assert page.one("#cloud").get_attribute("class") == "old"
    page.shoot("away")
    three.start()
    page.until(lambda: not page.one("#away").is_displayed(), "it reconnects by itself")
    page.until_says("in force on all 3 nodes", "#headline")
    page.until(lambda: "3 of 3 nodes" in page.rows("#changes")[0], "what was known of changes is known again")
    revision = three.update(group("sg-web", 80, 8084))
    page.until(lambda: page.rows("#changes")[0].startswith(f"{revision} "), "and it is live")


def test_the_keyboard_is_enough(page, three):
    signed_in(page, three)
    page.until(lambda: len(page.all(".cell")) == 3, "three cells")
    focused = page.driver.switch_to
    for _ in range(10):
        focused.active_element.send_keys(Keys.TAB)
        if "cell" in (focused.active_element.get_attribute("class") or ""):
            break
    assert "nc-1" in focused.active_element.get_attribute("aria-label")
    focused.active_element.send_keys(Keys.ARROW_RIGHT)
    focused.active_element.send_keys(Keys.ENTER)
    page.until_says("nc-2", "#detail-title")
    focused.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: "nc-2" in (focused.active_element.get_attribute("aria-label") or ""), "focus comes back")
