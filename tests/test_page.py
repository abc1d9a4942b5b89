"""The web page of episodes, in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from agents.show.playback import AgentPlayer, RandomPlayer, episode, save

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
    save(path, [(f"scene <{i}> <!-- <script> </script>", list(episode(player, env, i))) for i in (0, 1)])
    return path


def test_the_page_stands_alone_and_titles_are_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "http" not in text.replace("https://www.w3.org", "")
    assert text.count("</script>") == 1
    assert text.count("data:image/png") == 1  # the frames follow as data
    assert "<title>glimpse_env: scene &lt;0&gt;" in text
    with pytest.raises(IndexError):
        to_html([])


def test_of_many_answers_the_likeliest_are_named() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test").unwrapped
    env.reset(options={"index": 0})
    names = tuple(f"word{i}" for i in range(30))
    belief = np.zeros(30, np.float32)
    belief[[7, 29, 3]] = 0.2, 0.5, 0.3
    (moment,) = data_of(to_html([("x", [env.vector.view(0)._replace(answer_names=names, belief=belief)])]))
    assert moment["belief"][:4] == [["word29", 0.5], ["word3", 0.3], ["word7", 0.2], ["word0", 0.0]]
    assert len(moment["belief"]) == 8
    assert re.fullmatch(r"Look 1, at -?\d\.\d\d, -?\d\.\d\d\. Believes word29, 50 %\.", moment["words"])


def data_of(page: str) -> list[dict[str, Any]]:
    """The moments of the first player on the first scene."""
    text = re.search(r"^const scenes = (.*);$", page, re.MULTILINE).group(1)
    return json.loads(text)[0]["players"][0]["moments"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two players on two scenes; one never stops looking before the other has ended."""
    path = tmp_path_factory.mktemp("page") / "compared.html"
    shown = []
    for scene in (0, 1):
        for name, horizon in (("short", 2), ("long", 4)):
            env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test", horizon=horizon).unwrapped
            shown.append(
                (f"{name}, test scene {scene}", list(episode(RandomPlayer(env, seed=scene), env, scene)))
            )
    save(path, shown, together=2)
    return path


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
    element = browser.find_element(By.CSS_SELECTOR, "#players img")
    assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth == 960", element)
    return str(element.get_attribute("src"))


def where(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "where").text


@needs_chromium
def test_clicking_play_changes_the_picture_until_the_end(browser: webdriver.Chrome, tmp_path: Path) -> None:
    WebDriverWait(browser, 10).until(lambda b: where(b) == "1 of 3")
    first = picture(browser)
    before = browser.get_screenshot_as_png()
    browser.find_element(By.ID, "play").click()
    WebDriverWait(browser, 10).until(lambda b: picture(b) != first)
    assert browser.get_screenshot_as_png() != before
    WebDriverWait(browser, 10).until(lambda b: where(b) == "the end")
    assert browser.find_element(By.ID, "play").text == "play"
    assert browser.get_log("browser") == []


@needs_chromium
def test_keys_scrubber_and_episodes(browser: webdriver.Chrome) -> None:
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert where(browser) == "3 of 3"
    body.send_keys(Keys.ARROW_LEFT)
    assert where(browser) == "2 of 3"
    bars = browser.find_elements(By.CSS_SELECTOR, ".belief div")
    assert [bar.text for bar in bars] == [str(i) for i in range(10)]
    heights = [float(b.find_element(By.TAG_NAME, "i").size["height"]) for b in bars]
    assert np.argmax(heights) == [b.get_attribute("class") for b in bars].index("top")
    second = picture(browser)
    body.send_keys("n")
    assert where(browser) == "1 of 3"
    body.send_keys(Keys.ARROW_RIGHT)
    assert picture(browser) != second
    body.send_keys("p")
    browser.find_element(By.ID, "scrub").send_keys(Keys.END)
    assert where(browser) == "the end"
    body.send_keys(" ")  # plays again from the start
    assert where(browser).startswith("1")
    body.send_keys(" ")
    assert browser.find_element(By.ID, "play").text == "play"


@needs_chromium
def test_players_stand_side_by_side_and_who_ends_first_waits(
    browser: webdriver.Chrome, compared: Path
) -> None:
    browser.get(compared.as_uri() + "#scene=1&moment=4")  # a link to a moment
    assert where(browser) == "the end"
    assert [h.text for h in browser.find_elements(By.TAG_NAME, "h2")] == ["short", "long"]
    short, long = browser.find_elements(By.CSS_SELECTOR, "#players img")
    assert short.rect["y"] == long.rect["y"]
    assert short.rect["x"] + short.rect["width"] <= long.rect["x"]
    for image in (short, long):
        assert re.fullmatch(
            r"Look \d, at .*\. At the end: answer \d: (right|wrong, it is \d)\.", image.get_attribute("alt")
        )
    ended = short.get_attribute("src")
    at_end = long.get_attribute("src")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_LEFT)
    short, long = browser.find_elements(By.CSS_SELECTOR, "#players img")
    assert short.get_attribute("src") == ended
    assert long.get_attribute("src") != at_end
    assert browser.current_url.endswith("#scene=1&moment=3")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.HOME)
    assert where(browser) == "1 of 4"
    said = browser.find_element(By.ID, "said").get_attribute("textContent")
    assert re.match(r"short: Look 1, at .* long: Look 1, at ", said)
    browser.execute_script("location.hash = '#scene=0&moment=99'")
    WebDriverWait(browser, 10).until(lambda b: where(b) == "the end")
    assert browser.find_element(By.ID, "scene").get_attribute("value") == "0"
    assert browser.get_log("browser") == []


@needs_chromium
def test_a_swipe_steps_and_light_is_light(browser: webdriver.Chrome) -> None:
    def swipe(start: int, end: int) -> None:
        browser.execute_script(
            "const on = document.getElementById('players');"
            "const touch = x => new Touch({identifier: 1, target: on, clientX: x, clientY: 0});"
            f"on.dispatchEvent(new TouchEvent('touchstart', {{touches: [touch({start})]}}));"
            f"on.dispatchEvent(new TouchEvent('touchend', {{changedTouches: [touch({end})]}}));"
        )

    swipe(300, 100)
    assert where(browser) == "2 of 3"
    swipe(100, 110)  # a tap that trembles
    assert where(browser) == "2 of 3"
    swipe(100, 300)
    assert where(browser) == "1 of 3"

    def shade() -> float:
        """Of the page, 0 to 255."""
        colour = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        return float(np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]))

    button = browser.find_element(By.ID, "light")
    if button.text == "dark":  # what it would make of the page
        button.click()
    assert shade() < 40
    button.click()
    assert shade() > 220
    assert button.text == "dark"


@needs_chromium
def test_within_a_notebook_it_plays_and_has_no_link(
    browser: webdriver.Chrome, page: Path, tmp_path: Path
) -> None:
    quoted = html.escape(page.read_text(encoding="utf-8"))
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f'<meta charset="utf-8"><iframe srcdoc="{quoted}"></iframe>', encoding="utf-8")
    browser.get(notebook.as_uri())
    browser.switch_to.frame(0)
    browser.find_element(By.ID, "next").click()
    assert where(browser) == "2 of 3"
    assert not browser.find_element(By.ID, "link").is_displayed()
    assert browser.get_log("browser") == []


@needs_chromium
def test_on_a_phone_players_stand_one_below_the_other(browser: webdriver.Chrome, compared: Path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(compared.as_uri())
    first, second = browser.find_elements(By.CSS_SELECTOR, "#players img")
    assert first.rect["y"] + first.rect["height"] <= second.rect["y"]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_player_may_have_any_name() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test", horizon=1).unwrapped
    views = list(episode(RandomPlayer(env, seed=0), env, 0))
    written = to_html([("@DATA@", views)])
    assert written.count("const scenes = [{") == 1
    written = to_html([("a, b, test scene 0", views), ("@DATA@, test scene 0", views)], together=2)
    (scene,) = json.loads(re.search(r"^const scenes = (.*);$", written, re.MULTILINE).group(1))
    assert scene["title"] == "test scene 0"
    assert [player["name"] for player in scene["players"]] == ["a, b", "@DATA@"]
    assert "<title>glimpse_env: a, b and @DATA@</title>" in written
