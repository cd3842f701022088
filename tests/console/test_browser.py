"""The pages in a real browser: readable by everyone, wide and narrow, light and dark, and talking to nobody else."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import insert

from shipway import access, console
from shipway.console import session
from shipway.database import Database, schema
from shipway.settings import Settings

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
AXE = next(Path(axe.__file__).parent.rglob("axe.min.js"))
PAGES = [
    "/", "/endpoints/churn", "/endpoints/fraud", "/rollouts/churn-1", "/rollouts/churn-1/rollback", "/models",
    "/models/churn/2", "/drift/delivery-eta", "/drift/fraud", "/alerts", "/ledger", "/ledger?q=nothing-like-it",
    "/endpoints/churn/try", "/endpoints/nowhere", "/logout",
]  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Site:
    """A console on a port of this machine."""

    def __init__(self, home, tell_story, platform_of):
        settings = Settings(home=home)
        self.database = Database.open(settings.metadata_url)
        self.database.migrate()
        self.platform = platform_of(settings, self.database)
        with self.database.transaction() as tx:
            self.token = access.issue(
                tx, project="default", name="mia", role="admin", now=self.platform.clock(), actor="test"
            )
        if tell_story is not None:
            tell_story(self.platform)
        app = FastAPI()
        console.mount(app, self.platform)
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def cookie(self):
        secret = session.key(self.platform.settings.home)
        opened = session.Session("mia", "default", self.platform.clock() + 3600)
        return {
            "name": session.cookie_name(secret),
            "value": session.seal(secret, opened),
            "url": self.url,
            "httpOnly": True,
            "sameSite": "Strict",
        }

    def close(self):
        self.server.should_exit = True
        self.thread.join(timeout=10)
        self.database.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory, storyteller):
    made = Site(tmp_path_factory.mktemp("home"), *storyteller)
    yield made
    made.close()


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory, storyteller):
    made = Site(tmp_path_factory.mktemp("empty"), None, storyteller[1])
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Reader:
    """A tab that notes what goes wrong in it."""

    def __init__(self, chromium, site, *, width=1280, scheme="light", signed_in=True, scripts=True):
        self.site = site
        self.context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=scripts,
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        if signed_in:
            self.context.add_cookies([site.cookie()])
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path):
        self.page.goto(self.site.url + path)
        return self.page

    def violations(self, *, scheme="light", rules="{}"):
        """Run axe in a colour scheme; it is evaluated by the debugger, which the page's policy does not bind."""
        self.page.emulate_media(color_scheme=scheme)
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        run = f"async () => (await axe.run(document, {{resultTypes: ['violations'], ...{rules}}})).violations"
        found = self.page.evaluate(run)
        return [(scheme, v["id"], [n["html"][:160] for n in v["nodes"]][:4]) for v in found]

    def strangers(self):
        return [url for url in self.requests if not url.startswith((self.site.url, "data:"))]

    def close(self):
        self.context.close()


@pytest.fixture
def open_tab(chromium):
    opened = []

    def make(site, **options):
        opened.append(Reader(chromium, site, **options))
        return opened[-1]

    yield make
    for tab in opened:
        tab.close()


CONTRAST = "{runOnly: ['color-contrast']}"


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_accessible_light_and_dark_quiet_and_fits_its_width(open_tab, site, width):
    tab = open_tab(site, width=width)

    found = {}
    for path in PAGES:
        page = tab.open(path)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        expected = "404" if path == "/endpoints/nowhere" else "\0"
        errors = [error for error in tab.errors if expected not in error]
        tab.errors.clear()
        trouble = [*tab.violations(), *tab.violations(scheme="dark", rules=CONTRAST), *errors]
        if trouble or wide > 0:
            found[path] = [*trouble, f"scrolls sideways by {wide} px"]

    assert found == {}
    assert tab.strangers() == []


def test_door_and_empty_home_are_accessible(open_tab, empty_site):
    home = open_tab(empty_site, width=390)
    home.open("/")
    door = open_tab(empty_site, width=390, signed_in=False)
    door.open("/login")

    for tab in (home, door):
        assert tab.violations() == []
        assert tab.violations(scheme="dark", rules=CONTRAST) == []
        assert tab.errors == []


def test_reader_signs_in_with_a_token_and_lands_where_they_were_going(open_tab, site):
    tab = open_tab(site, signed_in=False)

    page = tab.open("/models")
    page.fill("#token", site.token)
    page.click("button")
    page.wait_for_url("**/models")

    assert "version" in page.text_content("h1")


def test_wrong_token_is_answered_with_a_sentence_and_a_fix(open_tab, site):
    page = open_tab(site, signed_in=False).open("/login")

    page.fill("#token", "sw_wrong")
    page.click("button")

    assert page.text_content(".error .fix")


def test_one_time_link_opens_the_console_once(open_tab, site):
    link = console.login_link(site.platform, site.url, site.platform.clock()).removeprefix(site.url)

    first = open_tab(site, signed_in=False).open(link)
    first.wait_for_url(site.url + "/")
    second = open_tab(site, signed_in=False).open(link)

    assert "Churn" in first.text_content("h1")
    assert "used before" in second.text_content(".error")


def test_pages_say_the_same_without_scripts(open_tab, site):
    with_scripts = open_tab(site).open("/rollouts/churn-1")
    without = open_tab(site, scripts=False).open("/rollouts/churn-1")

    assert with_scripts.text_content("h1") == without.text_content("h1")
    assert without.locator("svg.gauge").count() == with_scripts.locator("svg.gauge").count()


def test_page_keeps_itself_fresh(open_tab, site):
    page = open_tab(site).open("/endpoints/fraud")
    now = int(site.platform.clock() // 60)

    row = {"project": "default", "endpoint": "fraud", "minute": now, "version": 1, "outcome": "ok", "n": 120}
    with site.database.transaction() as tx:
        tx.execute(insert(schema.endpoint_count).values(**row, latency_us="[0,0,120]"))

    page.wait_for_selector("dl.metrics", timeout=8000)
    assert "Fraud is working" in page.text_content("h1")


def test_times_are_shown_in_the_readers_zone_with_utc_on_hover(open_tab, site):
    page = open_tab(site).open("/rollouts/churn-1")

    stamp = page.locator("ol.log time").last
    assert stamp.text_content().endswith("13:10")
    assert "12:10 UTC" in stamp.get_attribute("title")


def test_keyboard_alone_reaches_the_rollback_and_its_question(open_tab, site):
    tab = open_tab(site)
    page = tab.open("/rollouts/churn-1")

    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Roll back now":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/rollback")

    assert "Roll back version 2 of churn?" in page.text_content("h1")


def test_chosen_look_is_remembered_on_the_next_page(open_tab, site):
    tab = open_tab(site)
    page = tab.open("/")
    page.click("details.menu summary")
    page.check("#look-dark")

    page = tab.open("/models")

    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_opened_numbers_and_the_readers_place_survive_a_refresh(open_tab, site):
    page = open_tab(site).open("/endpoints/churn")
    page.click("details.data summary >> nth=0")
    page.locator("details.data summary").nth(1).focus()
    row = {"project": "default", "endpoint": "churn", "minute": 1, "version": 1, "outcome": "ok", "n": 1}
    minute = int(site.platform.clock() // 60)

    with site.database.transaction() as tx:
        tx.execute(insert(schema.endpoint_count).values(**{**row, "minute": minute, "outcome": "timeout", "n": 77}))
    page.wait_for_selector("text=version 1 101", timeout=8000)

    assert page.locator("details.data").nth(0).get_attribute("open") is not None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
