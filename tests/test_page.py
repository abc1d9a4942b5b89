"""The web page of episodes, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from conftest import OFFLINE
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from agents.models.ram import RAM
from agents.show.page import to_html
from agents.show.playback import AgentPlayer, episode, save

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs a browser: apt install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test", horizon=3).unwrapped
    torch.manual_seed(0)
    player = AgentPlayer(RAM((1, 8, 8), 10).eval())
    path = tmp_path_factory.mktemp("page") / "episode.html"
    save(path, [(f"scene <{i}> </script>", list(episode(player, env, i))) for i in (0, 1)])
    return path


def test_the_page_stands_alone_and_titles_are_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "http" not in text.replace("https://www.w3.org", "")
    assert text.count("</script>") == 1
    assert text.count("data:image/png") == 1  # the frames follow as data
    assert "<title>glimpse_env: scene &lt;0&gt;" in text
    with pytest.raises(IndexError):
        to_html([])


@pytest.fixture
def browser(page: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,1100"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as driver:
        driver.get(page.as_uri())
        yield driver


def picture(browser: webdriver.Chrome) -> str:
    element = browser.find_element(By.ID, "frame")
    assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth == 960", element)
    return str(element.get_attribute("src"))


def where(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "where").text


@needs_chromium
def test_clicking_play_changes_the_picture_until_the_end(browser: webdriver.Chrome, tmp_path: Path) -> None:
    WebDriverWait(browser, 10).until(lambda b: where(b) == "1 / 4")
    first = picture(browser)
    before = browser.get_screenshot_as_png()
    browser.find_element(By.ID, "play").click()
    WebDriverWait(browser, 10).until(lambda b: picture(b) != first)
    assert browser.get_screenshot_as_png() != before
    WebDriverWait(browser, 10).until(lambda b: where(b) == "4 / 4")
    assert browser.find_element(By.ID, "play").text == "play"
    assert browser.get_log("browser") == []


@needs_chromium
def test_keys_scrubber_and_episodes(browser: webdriver.Chrome) -> None:
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert where(browser) == "3 / 4"
    body.send_keys(Keys.ARROW_LEFT)
    assert where(browser) == "2 / 4"
    bars = browser.find_elements(By.CSS_SELECTOR, "#belief div")
    assert [bar.text for bar in bars] == [str(i) for i in range(10)]
    heights = [float(b.find_element(By.TAG_NAME, "i").size["height"]) for b in bars]
    assert np.argmax(heights) == [b.get_attribute("class") for b in bars].index("top")
    second = picture(browser)
    body.send_keys("n")
    assert where(browser) == "1 / 4"
    body.send_keys(Keys.ARROW_RIGHT)
    assert picture(browser) != second
    body.send_keys("p")
    browser.find_element(By.ID, "scrub").send_keys(Keys.END)
    assert where(browser) == "4 / 4"
    body.send_keys(" ")  # plays again from the start
    assert where(browser).startswith("1")
    body.send_keys(" ")
    assert browser.find_element(By.ID, "play").text == "play"
