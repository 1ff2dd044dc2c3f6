"""One Chromium for all tests, with a fresh profile; a server with three nodes for each test."""

import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.agents import Agents
from tests.browser.page import Page
from tests.browser.served import Served, cloud

THREE = ("nc-1", "nc-2", "nc-3")
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--force-color-profile=srgb",
)


def _found(*names):
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    chromium = _found("chromium", "chromium-browser", "google-chrome")
    chromedriver = _found("chromedriver")
    if not chromium or not chromedriver:
        pytest.fail("the browser tests need Chromium. On Debian 12: sudo apt-get install chromium chromium-driver")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield started
    started.quit()


@pytest.fixture
def served(tmp_path):
    found = Served(tmp_path).start()
    yield found
    if found.child.poll() is None:
        found.stop()


@pytest.fixture
def agents(served):
    found = Agents(served)
    yield found
    found.close()


@pytest.fixture
def three(served, agents):
    """A server with three nodes, one instance on each, all converged."""
    agents.start(*THREE)
    served.update(*cloud(*THREE))
    return served


@pytest.fixture
def page(driver):
    found = Page(driver)
    yield found
    found.close()
