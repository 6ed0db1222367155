"""Headless Chromium, where there is one; pictures of what it shows are kept as test artifacts."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

SHOTS = Path(os.environ.get("DRMN_SCREENSHOTS", Path(__file__).parents[1] / "results" / "screens"))
QUIET = """
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
"""


@contextmanager
def page():
    """Return a page of a browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as drivers:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = drivers.chromium.launch(executable_path=chromium, args=arguments)
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        context.set_default_timeout(120_000)  # a busy machine is no bug
        context.add_init_script(QUIET)
        yield context.new_page()
        browser.close()
