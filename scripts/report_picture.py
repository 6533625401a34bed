"""A picture of a report, or of any page in a file, by a headless Chromium.

`python -m scripts.report_picture PAGE.html --out PICTURE.png --from latency --height 900` begins at
the element of that id, else at the top. It ends with 1 if the page is too wide or logs an error.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from pathlib import Path

from websockets.asyncio.client import connect

from scripts.screenshots import VIEWS, Tab, View, chromium


async def picture(tab: Tab, asked: argparse.Namespace, view: View) -> bytes:
    """The page from the place that was asked for."""
    size = {"width": view.width, "height": view.height}
    await tab.call(
        "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=view.width < 600
    )
    features = [{"name": "prefers-color-scheme", "value": view.scheme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    await tab.call("Page.navigate", url=asked.page.resolve().as_uri())
    await tab.until("Page.loadEventFired")
    content = (await tab.call("Page.getLayoutMetrics"))["cssContentSize"]
    if content["width"] > view.width:
        tab.problems.append(f"{asked.page} is {content['width']} px wide in {view.width} px")
    top = await _top(tab, asked.start) if asked.start else 0.0
    height = min(content["height"] - top, asked.height)
    clip = {"x": 0, "y": top, "width": view.width, "height": height, "scale": 1}
    shot = await tab.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    return base64.b64decode(shot["data"])


async def _top(tab: Tab, name: str) -> float:
    """Where the element of that id begins, in pixels."""
    where = f"document.getElementById({name!r}).getBoundingClientRect().top + scrollY"
    found = await tab.call("Runtime.evaluate", expression=where, returnByValue=True)
    return float(found["result"]["value"])


async def take(asked: argparse.Namespace) -> list[str]:
    """Write the picture; what was wrong with the page."""
    view = next(each for each in VIEWS if each.name == asked.view)
    with chromium() as address:
        async with connect(address, max_size=None) as socket:
            tab = Tab(socket)
            for domain in ("Page", "Network", "Log", "Runtime"):
                await tab.call(f"{domain}.enable")
            asked.out.write_bytes(await picture(tab, asked, view))
            return tab.problems


def main() -> int:
    """Take the picture, tell what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", default="", help="the id of an element")
    parser.add_argument("--height", type=int, default=1_000)
    parser.add_argument("--view", choices=[view.name for view in VIEWS], default="light")
    problems = asyncio.run(take(parser.parse_args()))
    print("\n".join(problems) or "the picture is taken")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
