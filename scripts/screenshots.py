"""Pictures of the admin of a running server, by a headless Chromium.

`python -m scripts.screenshots --url http://127.0.0.1:8000 --out FOLDER PATH...`, with the password
of `admin` in TURNLAB_ADMIN_PASSWORD. Each page becomes NAME-light.png, NAME-dark.png and
NAME-phone.png (400 pixels wide). It ends with 1 if a page is too wide for it or logs an error.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
from websockets.asyncio.client import ClientConnection, connect

_TALLEST = 1_600


@dataclass(frozen=True)
class View:
    """A window and what its user prefers."""

    name: str
    width: int
    height: int
    scheme: str


VIEWS = (
    View("light", 1200, 800, "light"),
    View("dark", 1200, 800, "dark"),
    View("phone", 400, 800, "light"),
)


@dataclass
class Tab:
    """A page of the browser, spoken to by its debugging protocol."""

    socket: ClientConnection
    problems: list[str] = field(default_factory=list)
    _last: int = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command; what the page logs meanwhile is noted."""
        self._last += 1
        await self.socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while (told := await self._next()).get("id") != self._last:
            pass
        result: dict[str, Any] = told.get("result", {})
        return result

    async def until(self, event: str) -> None:
        """Wait for an event."""
        while (await self._next()).get("method") != event:
            pass

    async def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.socket.recv())
        if told.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.problems.append(json.dumps(told["params"])[:300])
        return told


@contextmanager
def chromium() -> Iterator[str]:
    """A headless Chromium; the address of its one page."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no chromium here; install it.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
        place = (f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank")
        process = subprocess.Popen([program, *options, *place], stderr=subprocess.DEVNULL)
        try:
            yield _page_of(Path(folder, "DevToolsActivePort"))
        finally:
            process.terminate()
            process.wait()


def _page_of(announced: Path) -> str:
    deadline_s = time.monotonic() + 30
    while not announced.exists() or not announced.read_text().strip():
        if time.monotonic() > deadline_s:
            raise SystemExit("Chromium did not start.")
        time.sleep(0.05)
    port = announced.read_text().split()[0]
    with urlopen(f"http://127.0.0.1:{port}/json") as answer:
        pages = [each for each in json.load(answer) if each["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


def session(url: str, user: str, password: str) -> dict[str, str]:
    """The cookies of somebody who has signed in."""
    with httpx2.Client(base_url=url) as client:
        form = client.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        values = {"username": user, "password": password, "csrfmiddlewaretoken": token and token[1]}
        if client.post("/admin/login/", data=values).status_code != 302:
            raise SystemExit(f"{user} cannot sign in; set TURNLAB_ADMIN_PASSWORD.")
        return dict(client.cookies)


async def picture(tab: Tab, address: str, view: View) -> bytes:
    """The page as it looks in the view, at most 1,600 pixels of its height."""
    size = {"width": view.width, "height": view.height}
    await tab.call(
        "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=view.width < 600
    )
    features = [{"name": "prefers-color-scheme", "value": view.scheme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    await tab.call("Page.navigate", url=address)
    await tab.until("Page.loadEventFired")
    content = (await tab.call("Page.getLayoutMetrics"))["cssContentSize"]
    if content["width"] > view.width:
        tab.problems.append(f"{address} is {content['width']} px wide in {view.width} px")
    clip = {"x": 0, "y": 0, "width": view.width, "height": min(content["height"], _TALLEST)}
    shot = await tab.call(
        "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
    )
    return base64.b64decode(shot["data"])


async def pictures(asked: argparse.Namespace, cookies: dict[str, str]) -> list[str]:
    """Write all pictures; what was wrong with the pages."""
    with chromium() as page:
        async with connect(page, max_size=None) as socket:
            tab = Tab(socket)
            for domain in ("Page", "Network", "Log", "Runtime"):
                await tab.call(f"{domain}.enable")
            for name, value in cookies.items():
                await tab.call("Network.setCookie", name=name, value=value, url=asked.url)
            for path in asked.paths:
                name = path.removeprefix("/admin").strip("/").replace("/", "-") or "overview"
                for view in VIEWS:
                    file = asked.out / f"{name[:80]}-{view.name}.png"
                    await asyncio.to_thread(
                        file.write_bytes, await picture(tab, asked.url + path, view)
                    )
            return tab.problems


def main() -> int:
    """Sign in, take the pictures, tell what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the running server")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="a folder")
    parser.add_argument("paths", nargs="*", default=["/admin/", "/admin/health/"])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    password = os.environ.get("TURNLAB_ADMIN_PASSWORD", "")
    problems = asyncio.run(pictures(asked, session(asked.url, "admin", password)))
    print("\n".join(problems) or f"{len(asked.paths) * len(VIEWS)} pictures are in {asked.out}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
