"""Ten thousand nodes: found by sight, by filter and by keyboard; and as a table for whoever does not see."""

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.served import group, instance, put
from tests.browser.test_dashboard import signed_in

MANY = 10_000
ZONES = ("zone-a", "zone-b")


def cloud_of(count):
    """Two zones; one instance on each of the first three nodes."""
    zones = {
        zone: {"subnet": f"10.{i}.0.0/16", "gateway": f"10.{i}.0.1", "private_ips": [f"10.{i}.0.10-10.{i}.9.250"]}
        for i, zone in enumerate(ZONES, 1)
    }
    nodes = {
        f"nc-{n}": {"zone": ZONES[n > count // 2], "address": f"172.16.{n // 250}.{1 + n % 250}"}
        for n in range(1, count + 1)
    }
    few = [instance(f"i-{n:08x}", f"nc-{n}", n, "sg-web") for n in (1, 2, 3)]
    return {
        "network": put("network", "network", dns_servers=["10.0.0.2"], public_ips=[])["value"],
        "zones": zones,
        "nodes": nodes,
        "groups": {"sg-web": group("sg-web", 80)["value"]},
        "instances": {one["id"]: one["value"] for one in few},
        "elastic_ips": {},
    }


def test_ten_thousand_nodes(page, served, agents):
    served.ask("PUT", "/v1/model", json=cloud_of(MANY))
    agents.start("nc-1", "nc-2", "nc-3")
    signed_in(page, served)
    page.until_says(f"{MANY} nodes", "#shown")
    page.until_says("converged 3", "#legend")
    assert page.wider_than_the_screen() == []
    page.until(lambda: page.rows("#zones")[1].startswith("zone-b 5000"), "both zones")

    grid = page.one(".canvas-grid")
    drawn = page.driver.execute_script(
        "const c = arguments[0].querySelector('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n",
        grid,
    )
    assert drawn > MANY * 4, "every node has its pixels"
    grid.send_keys(Keys.END)
    option = page.one(f"#{grid.get_attribute('aria-activedescendant')}")
    assert option.get_attribute("textContent").startswith(f"nc-{MANY}, never seen")
    assert (option.get_attribute("aria-posinset"), option.get_attribute("aria-setsize")) == (str(MANY),) * 2
    page.shoot("ten-thousand")
    grid.send_keys(Keys.ENTER)
    page.until_says(f"nc-{MANY}", "#detail-title")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: page.driver.switch_to.active_element == grid, "focus comes back")

    page.one("#legend [data-state=converged]").click()  # the few that are seen
    page.until(lambda: [one.text for one in page.all(".cell .name")] == ["nc-1", "nc-2", "nc-3"], "three cells")
    page.one("#legend [data-state=converged]").click()
    page.one("#as-table").click()
    page.until(lambda: len(page.all("#nodes tbody tr")) == 100, "a page of rows")
    page.one("#by-name").send_keys("nc-9999")
    page.until(lambda: len(page.rows("#nodes")) == 1, "found")
    assert page.rows("#nodes")[0].startswith("nc-9999 zone-b ? never seen")
    assert page.text("#shown") == f"1 of {MANY} nodes"
    assert page.complaints() == []


def test_a_zone_is_chosen(page, served, agents):
    served.ask("PUT", "/v1/model", json=cloud_of(1000))
    agents.start("nc-1", "nc-2", "nc-3")
    signed_in(page, served)
    page.until(lambda: len(page.rows("#zones")) == 2, "both zones")
    page.until_says("1000 nodes", "#shown")
    page.driver.find_element(By.XPATH, "//section[@id='zones']//button[text()='zone-b']").click()
    page.until_says("500 of 1000 nodes", "#shown")
    page.shoot("one-zone")
