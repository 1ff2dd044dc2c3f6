"""The dashboard as its reader sees it: what is visible, not what is in the DOM."""

import os
from pathlib import Path

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 20
SHOTS = os.environ.get("VERGE_SCREENSHOTS")
"""A directory for screenshots, to be looked at."""


class Page:
    def __init__(self, driver):
        self.driver = driver
        self._scheme = "light"
        self._size = (1280, 900)

    def open(self, url):
        """A new tab: sessionStorage is a tab's own."""
        before = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        after = self.driver.current_window_handle
        self.driver.switch_to.window(before)
        self.driver.close()
        self.driver.switch_to.window(after)
        self.driver.get_log("browser")
        self.media(self._scheme)
        self.size(*self._size)
        self.driver.get(url)
        return self

    def close(self):
        self.driver.get("about:blank")

    def sign_in(self, token):
        field = self.driver.find_element(By.ID, "token")
        field.clear()
        field.send_keys(token)
        self.driver.find_element(By.CSS_SELECTOR, "#sign-in button").click()
        return self

    def size(self, width, height):
        self._size = (width, height)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, scheme):
        self._scheme = scheme
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def text(self, selector="body"):
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, holds, what):
        def asked(_):
            try:
                return holds()
            except (StaleElementReferenceException, IndexError):  # drawn anew meanwhile; not there yet
                return False

        wait = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05)
        return wait.until(asked, f"never: {what}; the page says:\n{self.text()[:2000]}")

    def until_says(self, text, selector="body"):
        self.until(lambda: text in self.text(selector), f"{selector} says {text!r}")

    def rows(self, selector):
        """Of a table: the visible text of each row, in one line."""
        return [" ".join(row.text.split()) for row in self.all(f"{selector} tbody tr")]

    def wider_than_the_screen(self):
        return self.driver.execute_script(
            "return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() "
            "&& e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"
            ".concat(document.documentElement.scrollWidth > innerWidth ? ['document'] : [])"
        )

    def complaints(self):
        """What the browser logged as errors: a broken script, or a violated Content-Security-Policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def shoot(self, name):
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))
