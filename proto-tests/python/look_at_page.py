"""Looks at an agent's status page in headless Chromium through chromedriver, and at the API beside it.

usage: look_at_page.py STAGE URL FOLDER JOB

Stages: `calm` (the job has caught up: contents against the API, panels, keyboard, no foreign request) and `stalled` (the job is shown as
stalled). Each takes screenshots in both themes and at the width of a phone. What is wrong is an assertion that ends the
program.
"""

import json
import sys
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

STAGE, URL, FOLDER, JOB = sys.argv[1:5]
PATIENCE_S = 90


def start():
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900",
                     "--disable-background-networking", "--no-first-run", "--lang=en-GB"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def api(path):
    with urllib.request.urlopen(URL + path, timeout=20) as answer:
        return json.load(answer)


def wait(what, look):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S} s; the page says:\n{text()}"
        time.sleep(0.2)


def text():
    return browser.find_element(By.TAG_NAME, "body").text


def card():
    return browser.find_element(By.CSS_SELECTOR, f'section[data-key="{JOB}"]')


def figures():
    """Labels and big numbers of the job's card, read in one go: the page may draw between two questions."""
    return dict(browser.execute_script(
        "return [...document.querySelectorAll(`section[data-key='${arguments[0]}'] .figure`)]"
        ".map(f => [f.querySelector('dt').textContent, f.querySelector('.big').textContent])", JOB))


def theme(name):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})


def width(pixels, height, mobile):
    metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def shoot(name):
    """The whole page, in both themes and at the width of a phone."""
    for colours in ["light", "dark"]:
        theme(colours)
        for kind, pixels in [("wide", 1280), ("phone", 360)]:
            width(pixels, 900, kind == "phone")
            time.sleep(0.3)
            broad = browser.execute_script("return document.documentElement.scrollWidth")
            assert broad <= pixels, f"{name}, {kind}: the page is {broad} wide and scrolls sideways"
            high = browser.execute_script("return document.documentElement.scrollHeight")
            width(pixels, min(high, 6000), kind == "phone")
            time.sleep(0.3)
            browser.save_screenshot(f"{FOLDER}/{name}-{colours}-{kind}.png")
    theme("light")
    width(1280, 900, False)


def contrast():
    """The least contrast of text against what is behind it (WCAG 2), over everything that is shown."""
    return browser.execute_script("""
        const rgb = text => text.match(/[\\d.]+/g).map(Number);
        const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = node => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
        let least = [99, ""];
        for (const node of document.querySelectorAll("body *")) {
          if (![...node.childNodes].some(c => c.nodeType === 3 && c.data.trim()) || !node.checkVisibility() || node.closest("script,style,noscript,.skip")) continue;
          const [a, b] = [light(rgb(getComputedStyle(node).color).slice(0, 3)), light(behind(node))].sort((x, y) => y - x);
          const ratio = (a + 0.05) / (b + 0.05);
          if (ratio < least[0]) least = [ratio, node.tagName + " " + node.className + ": " + node.textContent.slice(0, 60)];
        }
        return least;""")


def no_foreign_request():
    """Everything the page has asked for, as the browser's own log has it."""
    urls = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.add(message["params"]["request"]["url"])
    asked = {url for url in urls if not url.startswith(("data:", "chrome"))}
    assert any(url.endswith("/api/v1/status") for url in asked), asked
    foreign = {url for url in asked if not url.startswith(URL)}
    assert not foreign, f"requests to others: {foreign}"
    return len(asked)


def no_complaint(but=()):
    told = [entry["message"] for entry in browser.get_log("browser") if not any(part in entry["message"] for part in but)]
    assert not told, f"the browser complains: {told}"


def keyboard():
    """Tab goes through the page in order, what has the focus can be seen, and Enter opens a panel."""
    body = browser.find_element(By.TAG_NAME, "body")
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    body.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the jobs" or first.get_attribute("class") == "skip", first.get_attribute("outerHTML")
    seen = []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        if active.tag_name == "body":
            break
        style = browser.execute_script("const s = getComputedStyle(arguments[0]); return s.outlineStyle + ' ' + s.outlineWidth", active)
        assert style.startswith("solid") and style != "solid 0px", f"{active.tag_name}: the focus cannot be seen ({style})"
        seen.append(active.tag_name + ":" + (active.get_attribute("data-panel") or active.get_attribute("aria-label") or active.text)[:40])
    assert len(seen) == len(set(seen)) or len(seen) > 5, seen
    assert any(name.startswith("summary") for name in seen) and any(name.startswith("button") for name in seen), seen
    return seen


def tree():
    """What a screen reader is given: every button, link, table, region and picture has a name; headings are in order."""
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {}
    for node in nodes:
        if node.get("ignored"):
            continue
        role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value", "")
        roles.setdefault(role, []).append(name)
        if role in ("button", "link", "image", "img", "heading", "region", "DisclosureTriangle", "columnheader"):
            assert name.strip(), f"a {role} without a name: {node}"
    for role in ("banner", "main", "heading", "table", "button", "status"):
        assert role in roles, f"no {role} in {sorted(k for k in roles if k)}"
    levels = browser.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels
    return {role: len(names) for role, names in roles.items() if role in ("heading", "table", "button", "img", "image", "region")}


def open_all():
    for panel in browser.find_elements(By.CSS_SELECTOR, "details:not([open]) > summary"):
        panel.send_keys(Keys.ENTER)
    wait("contents of the panels", lambda: "Asking …" not in text() and "being looked at" not in text())


def calm():
    wait("job that has caught up", lambda: "Caught up" in card().text)
    job = api(f"/api/v1/jobs/{JOB}")
    assert job["health"]["word"] == "caught_up" and job["lag"]["records"] == 0, job["health"]
    rows = job["totals"]["rows_committed"]
    assert rows > 0, job["totals"]
    wait("rows of the API on the page", lambda: f"{rows:,} since the start" in card().text)
    assert figures()["Lag"] == "0", figures()
    assert figures()["End-to-end delay"] == "none", figures()
    assert f"{job['topic']} → {job['project']}.{job['table']}" in card().text
    assert browser.title.startswith("Caught up · forebay"), browser.title
    seen = keyboard()
    open_all()
    # Partitions, against the API.
    wait("partitions of the API on the page", lambda: partitions() == {
        p["partition"]: (p["committed"], p["end"], p["lag"]) for p in api(f"/api/v1/jobs/{JOB}/partitions")["partitions"]})
    # Brokers and members are asked for every ten seconds.
    job = wait("brokers and members", lambda: next(
        (job for job in [api(f"/api/v1/jobs/{JOB}")] if job["brokers"] and job["group"]["members"]), None))
    wait("the member on the page", lambda: job["group"]["members"][0]["id"] in text())
    shown = text()
    for broker in job["brokers"]:
        assert broker["address"] in shown and broker["release"] in shown, broker
    for wanted in [job["topic"], job["group_id"], "__consumer_offsets", "joined the group"]:
        assert wanted in shown, f"{wanted} is not on the page:\n{shown}"
    # A member calls itself by a piece of HTML: it is shown, and is no piece of the page.
    client = job["group"]["members"][0]["client_id"]
    assert "<img" in client and client in shown, client
    assert browser.execute_script("return document.querySelectorAll('img, iframe, object, embed').length") == 0
    commands = browser.execute_script("return [...document.querySelectorAll('.cmd code')].map(c => c.textContent)")
    assert len(commands) >= 6 and all(c.startswith(("forebay ", "curl ", "journalctl ")) for c in commands), commands
    # Live without a reload: an opened panel stays open, and the focus where it is.
    summary = browser.find_element(By.CSS_SELECTOR, "summary")
    summary.send_keys(Keys.NULL)
    browser.execute_script("arguments[0].focus()", summary)
    time.sleep(5)
    assert browser.execute_script("return document.activeElement === arguments[0] && arguments[0].parentNode.open", summary)
    report = {"focus": len(seen), "accessible": tree(), "commands": commands}
    for colours in ["light", "dark"]:
        theme(colours)
        time.sleep(0.3)
        least = contrast()
        assert least[0] >= 4.5, f"{colours}: contrast {least}"
        report["contrast " + colours] = round(least[0], 2)
    theme("light")
    shoot("calm")
    report["requests"] = no_foreign_request()
    no_complaint()
    return report


def partitions():
    rows = browser.execute_script(
        "return [...document.querySelectorAll(`details[data-panel='${arguments[0]}/partitions'] tbody tr`)]"
        ".map(r => [...r.cells].map(c => c.textContent))", JOB)
    number = lambda cell: None if cell == "–" else int(cell.replace(",", ""))
    return {int(row[0]): (number(row[5]), number(row[9]), number(row[10])) for row in rows}


def stalled():
    wait("stalled job", lambda: "Stalled" in card().text)
    job = api(f"/api/v1/jobs/{JOB}")
    assert job["health"]["word"] == "stalled", job["health"]
    sentence = job["health"]["text"]
    assert sentence.startswith("waits in upload"), sentence
    wait("reason on the page", lambda: "Waits in upload" in card().text)
    banner = browser.find_element(By.ID, "say").text
    assert banner.startswith("Stalled") and JOB in banner, banner
    assert browser.title.startswith("Stalled · forebay"), browser.title
    assert figures()["Lag"] != "0", figures()
    open_all()
    session = api(f"/api/v1/jobs/{JOB}")["sessions"][0]["id"]
    wait("open session on the page", lambda: session in text())
    for colours in ["light", "dark"]:
        theme(colours)
        time.sleep(0.3)
        least = contrast()
        assert least[0] >= 4.5, f"{colours}: contrast {least}"
    shoot("stalled")
    no_complaint()
    return {"sentence": sentence, "banner": banner, "session": session, "requests": no_foreign_request()}


browser = start()
try:
    browser.get(URL + "/")
    wait("page", lambda: browser.find_elements(By.CSS_SELECTOR, f'section[data-key="{JOB}"]'))
    print(json.dumps({"calm": calm, "stalled": stalled}[STAGE](), indent=1))
finally:
    browser.quit()
