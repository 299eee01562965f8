#!/usr/bin/env python3
"""Installs the starter templates with the program's own command, has the service send each of them in each language, and looks at
the mail with a browser at 600 and at 360 pixels: nothing is cut off, nothing is wider than the window, everything is photographed.
html-validate judges the HTML. And has the service make HTML of MJML, for whoever compares it with the reference.

Usage: letters.py PROGRAM PHOTOS FIXTURES RENDERED
  PROGRAM   the built rapport
  PHOTOS    the folder for screenshots
  FIXTURES  the folder of documents in MJML
  RENDERED  the folder for the HTML that the service makes of them
"""

import base64
import email
import email.policy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from selenium import webdriver

from client import LONGEST_CALL, Api
from serving import service

LONGEST_WAIT = 60
WIDTHS = (600, 360)
LANGUAGES = ("en", "lv", "lt", "da", "ru")
LETTERS = ("birthday", "check-in", "newsletter", "survey-invitation", "thank-you", "welcome", "win-back")
CONFIGURATION = Path(__file__).with_name("html-validate.cjs")
DATA = {
    "code": "WITH-LOVE-2026",
    "stories": [
        {
            "title": "The new catalogue is here",
            "text": "Forty pages, two of which nobody expected, and an index that finds things.",
            "url": "https://shop.example.com/catalogue",
        },
        {"title": "Opening hours", "text": "We are there on Saturdays too, from ten to four.", "url": "https://shop.example.com/hours"},
    ],
}


def main(program, photos, fixtures, rendered):
    shutil.rmtree(photos, ignore_errors=True)
    photos.mkdir(parents=True)
    rendered.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, service(program, [], folder) as address:
        install(program, address)
        with tempfile.TemporaryDirectory() as generated, grpc.insecure_channel(address) as channel:
            api = Api(generated, channel)
            make_html(api, fixtures, rendered)
            letters = send(api, Path(folder) / "outbox")
    pages = Path(tempfile.mkdtemp(dir=rendered))
    for name, html in letters.items():
        (pages / f"{name}.html").write_text(html, encoding="utf-8")
    look(pages, photos)
    validate(pages)
    shutil.rmtree(pages)


def install(program, address):
    """Twice: the second time nothing is changed."""
    command = [program.resolve(), "templates", "install", "--grpc-addr", address, "--shop", "Ābele and Sons", "--url", "https://shop.example.com/"]
    first = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(first) >= len(LETTERS) and all(line.endswith("installed") for line in first), first
    assert len(again) == len(first) and all(line.endswith("is there already") for line in again), again


def make_html(api, fixtures, rendered):
    for path in sorted(fixtures.glob("*.mjml")):
        variant = api.TemplateVariant(subject="x", text_body="x", mjml_body=path.read_text(encoding="utf-8"))
        request = api.PreviewTemplateRequest(inline=api.Template(variants=[variant]))
        answer = api.TemplateService.PreviewTemplate(request, timeout=LONGEST_CALL)
        if answer.HasField("message"):
            (rendered / f"{path.stem}.html").write_text(answer.message.html_body, encoding="utf-8")
        else:
            (rendered / f"{path.stem}.refused").write_text(answer.problems[0].description, encoding="utf-8")


def send(api, outbox):
    """Every letter in every language, as mail, with what the service adds to it."""
    topic = api.Topic(topic_id="service", names=[api.LocalizedText(text="Service")], purpose=api.PURPOSE_SERVICE, opt_in=api.Topic.OPT_IN_NONE)
    api.PreferenceService.CreateTopic(api.CreateTopicRequest(topic=topic), timeout=LONGEST_CALL)
    steps = [api.Step(step_id="ask", delay=api.Delay(elapsed=api.Elapsed()), send=api.SendAction(template_id="check-in"))]
    campaign = api.Campaign(campaign_id="ask", display_name="Ask", topic_id="service", event=api.EventTrigger(event_type="order.placed"), steps=steps)
    api.CampaignService.CreateCampaign(api.CreateCampaignRequest(campaign=campaign), timeout=LONGEST_CALL)
    api.CampaignService.ActivateCampaign(api.ActivateCampaignRequest(campaign_id="ask"), timeout=LONGEST_CALL)
    for language in LANGUAGES:
        for letter in LETTERS:
            name = f"{letter}.{language}"
            address = api.Address(value=f"{name}@example.com")
            customer = api.Customer(external_ids=[name], locale=language, given_name="Elizabete-Katrīna", display_name="Elizabete-Katrīna", addresses=[address])
            api.CustomerService.CreateCustomer(api.CreateCustomerRequest(customer=customer), timeout=LONGEST_CALL)
            who = api.CustomerRef(external_id=name)
            if letter == "check-in":
                event = api.Event(event_type="order.placed", customer=who, subject="R-2026-000417", source="test", source_event_id=name)
                event.occur_time.GetCurrentTime()
                api.EventService.RecordEvent(api.RecordEventRequest(event=event), timeout=LONGEST_CALL)
                continue
            request = api.ScheduleContactRequest(customer=who, topic_id="service", template_id=letter)
            request.data.update(DATA)
            api.ContactService.ScheduleContact(request, timeout=LONGEST_CALL)
    return read(outbox)


def read(outbox):
    """The HTML parts, as soon as all mail is there, by letter and language."""
    end = time.monotonic() + LONGEST_WAIT
    while len(paths := list(outbox.glob("*.eml"))) < len(LETTERS) * len(LANGUAGES):
        assert time.monotonic() < end, f"there are only {len(paths)} letters"
        time.sleep(0.1)
    letters = {}
    for path in paths:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        name = message["to"].addresses[0].username
        html, text = (message.get_body((kind,)).get_content() for kind in ("html", "plain"))
        for part in (message["subject"], html, text):
            assert "{{" not in part and "{%" not in part and "[[" not in part, (name, part)
        assert "/u/" in html and "/u/" in text, f"{name} shows no way to leave"
        letters[name] = html
    assert len(letters) == len(LETTERS) * len(LANGUAGES), sorted(letters)
    return letters


def look(pages, photos):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        for page in sorted(pages.glob("*.html")):
            for width in WIDTHS:
                metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                browser.get(page.as_uri())
                judge(browser, page.stem, width)
                whole = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
                (photos / f"{page.stem}-{width}.png").write_bytes(base64.b64decode(whole["data"]))
        said = browser.get_log("browser")
        assert not said, said
    finally:
        browser.quit()
    print(f"{len(list(photos.glob('*.png')))} letters were photographed in {photos}")


def judge(browser, name, width):
    """What a careful eye would complain about."""
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width, f"{name} is {wide} pixels wide, and the window {width}"
    cut = browser.execute_script(
        """return [...document.querySelectorAll('h1, h2, p, a, li, td > div')].filter((one) => {
            const box = one.getBoundingClientRect()
            return box.width && (box.left < 0 || box.right > innerWidth + 0.5 || one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline')
        }).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert not cut, f"{name} at {width}: this is cut off: {cut}"
    small = browser.execute_script(
        """return [...document.querySelectorAll('*')].filter((one) => [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
            && one.getClientRects().length && parseFloat(getComputedStyle(one).fontSize) < 12).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert not small, f"{name} at {width}: this is too small to read: {small}"
    assert browser.execute_script("return document.querySelectorAll('h1').length") == 1, name


def validate(pages):
    program = Path(__file__).parent / ".tools/node_modules/.bin/html-validate"
    command = [program, "--config", CONFIGURATION, "--max-warnings", "0", *sorted(pages.glob("*.html"))]
    judged = subprocess.run(command, capture_output=True, text=True)
    assert not judged.returncode, judged.stdout[-8000:] + judged.stderr
    print(f"html-validate finds nothing in {len(list(pages.glob('*.html')))} letters")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*map(Path, sys.argv[1:]))
