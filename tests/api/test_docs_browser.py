"""The page at /docs in a real browser: it draws, filters, loads nothing from elsewhere and can be read by everyone."""

import shutil
import threading
from pathlib import Path
from time import sleep

import pytest
import uvicorn

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
AXE = next(Path(axe.__file__).parent.rglob("axe.min.js"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def site(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    server.install_signal_handlers = lambda: None
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_draws_every_route_for_every_reader(site, width, scheme):
    said, asked = [], []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=False)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{site}/docs")
        page.wait_for_selector("details")
        page.fill("#filter", "/aliases")
        page.click("details:not([hidden])")
        shown = page.locator("details:not([hidden])").count()
        wide = page.evaluate("document.documentElement.scrollWidth")
        found = page.evaluate(AXE.read_text() + "; axe.run().then(r => r.violations.map(v => v.id + ': ' + v.help))")
        browser.close()

    assert said == []
    assert all(url.startswith(site) for url in asked)
    assert shown == 2
    assert wide <= width
    assert found == []
