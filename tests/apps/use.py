"""A visitor of the pages in Chromium, who does what a person does: opens, clicks, says, waits and looks."""

from __future__ import annotations

import time
from typing import Any

from tests.apps.browser import click, find, text_of, type_in, until, wait_for_texts
from tests.apps.model_server import ModelServer

INPUT = '[data-testid="stChatInput"] textarea'
GREETING = "Wipe your feet, sailor."
LONG = " ".join(f"word{n}" for n in range(400))


class Use:
    """A visitor with a browser.

    Attributes:
        driver: the browser.
        address: of the app.
        model: the server of the model; without a slow one, the embedded model replies.
    """

    def __init__(self, driver: Any, address: str, model: ModelServer | None = None) -> None:
        self.driver, self.address = driver, address
        if model:
            self.model = model

    def open(self, page: str = "", *texts: str) -> None:
        self.driver.get(f"{self.address}/{page}")
        wait_for_texts(self.driver, *texts)
        self.settle()

    def settle(self) -> None:
        """Wait until the page's script has ended."""
        time.sleep(0.2)
        css = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        until(lambda: self.driver.find_elements("css selector", css))

    def meet(self, role: str = "edda", greeting: str = GREETING) -> None:
        click(self.driver, f'[class*="st-key-talk-{role}"] button')
        wait_for_texts(self.driver, greeting)
        self.settle()

    def click(self, key: str) -> None:
        """Click the button in the element with this key, as a person does."""
        self.settle()
        find(self.driver, f'[class*="st-key-{key}"] button:not([disabled])')
        click(self.driver, f'[class*="st-key-{key}"] button:not([disabled])')
        self.settle()

    def say(self, line: str, *replies: str) -> None:
        type_in(self.driver, INPUT, line + "\n")
        wait_for_texts(self.driver, line, *replies)
        if replies:
            until(lambda: not self.has(".generating"))
            self.settle()

    def say_and_wait_for(self, line: str, text: str) -> None:
        """Say a line, and wait for a text while the reply is still being written."""
        type_in(self.driver, INPUT, line + "\n")
        wait_for_texts(self.driver, line, text)

    def messages(self) -> list[str]:
        script = "return [...document.querySelectorAll('.said')].map(e => e.innerText.trim())"
        said: list[str] = self.driver.execute_script(script)
        return said

    def wait_for_messages(self, count: int) -> list[str]:
        until(
            lambda: len(self.messages()) >= count and not self.has(".generating"), lambda: text_of(self.driver)[-1500:]
        )
        self.settle()
        return self.messages()

    def has(self, css: str) -> bool:
        return bool(self.driver.find_elements("css selector", css))

    def is_visible(self, css: str) -> bool:
        """Whether an element is in the window, and not covered."""
        script = """
        const e = [...document.querySelectorAll(arguments[0])].at(-1)
        if (!e) return false
        const box = e.getBoundingClientRect()
        const x = Math.max(1, Math.min(innerWidth - 1, box.x + box.width / 2))
        const y = box.y + Math.min(box.height / 2, 20)
        const top = document.elementFromPoint(x, y)
        return box.height > 0 && y > 0 && y < innerHeight && !!top && (e.contains(top) || top.contains(e))"""
        return bool(self.driver.execute_script(script, css))

    def choose_model(self, name: str) -> None:
        """Write the name of a model, and wait until it is loaded or failed."""
        click_option(self, ".st-key-model", name)


def click_option(use: Use, css: str, option: str) -> None:
    """Write into a select box, and click what it offers."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.common.keys import Keys

    def offered() -> Any:
        use.settle()
        folded = f"document.querySelector(`{css}`)?.closest('details:not([open])')"
        use.driver.execute_script(f"{folded}?.querySelector('summary').click()")
        field = find(use.driver, f"{css} input")
        use.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        try:
            field.click()
            field.send_keys(option)
        except WebDriverException:  # the page was just drawn anew
            return []
        time.sleep(0.3)
        options = use.driver.find_elements("xpath", f"//*[@role='option' and contains(., '{option}')]")
        if not options:
            field.send_keys(Keys.ESCAPE)
        return options

    until(offered)[0].click()
    use.settle()


def tab(use: Use, name: str) -> None:
    use.settle()
    xpath = f"//*[@role='tab' and normalize-space()='{name}']"
    use.driver.execute_script("arguments[0].click()", until(lambda: use.driver.find_elements("xpath", xpath))[0])
