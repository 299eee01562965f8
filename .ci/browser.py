#!/usr/bin/env python3
"""Walks through the pages behind the links in mail with a real browser, as customers do: confirms a consent, changes settings,
unsubscribes; in two languages, on a desktop and on a phone, and once without JavaScript. Every page that is met is photographed and
judged by axe-core; no page may say anything to the console.

Usage: browser.py PROGRAM AXE PHOTOS
  PROGRAM  the built rapport
  AXE      axe.min.js of axe-core
  PHOTOS   the folder for screenshots
"""

import base64
import email
import email.policy
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import grpc
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from client import LONGEST_CALL, Api
from serving import service

LONGEST_WAIT = 20
WIDTHS = {"desktop": (1280, 900), "phone": (360, 780)}
LANGUAGES = {
    "en": {"topic": "Newsletter", "confirmed": "Thank you", "saved": "Your settings are saved", "left": "You are unsubscribed"},
    "lv": {"topic": "Jaunumi", "confirmed": "Paldies", "saved": "Jūsu iestatījumi ir saglabāti", "left": "Atteikšanās ir pieņemta"},
}


def main(program, axe, photos):
    photos.mkdir(parents=True, exist_ok=True)
    judge = axe.read_text()
    with tempfile.TemporaryDirectory() as folder, service(program, [], folder) as address:
        with tempfile.TemporaryDirectory() as generated, grpc.insecure_channel(address) as channel:
            shop = Shop(Api(generated, channel), Path(folder) / "outbox")
            for language in LANGUAGES:
                for device, size in WIDTHS.items():
                    with Visit(f"{language}-{device}", size, judge, photos) as visit:
                        walk(shop, visit, language)
            with Visit("without-javascript", WIDTHS["phone"], None, photos) as visit:
                walk(shop, visit, "en")
    print(f"{len(list(photos.glob('*.png')))} pages were photographed in {photos}")


def walk(shop, visit, language):
    """Somebody agrees, confirms, chooses, takes a break and leaves."""
    api, texts = shop.api, LANGUAGES[language]
    who = shop.customer(visit.name, language)

    shop.agree(who)
    visit.open(shop.link(who, "/c/"), "confirm")
    assert shop.state(who) == api.Consent.STATE_PENDING, "looking at a page confirmed something"
    visit.press("action", "confirm")
    visit.expect(texts["confirmed"], "confirmed")
    assert shop.state(who) == api.Consent.STATE_GRANTED

    shop.write(who)
    visit.open(shop.link(who, "/p/"), "preferences")
    assert visit.find("topic").is_selected()
    Select(visit.find("frequency")).select_by_value("weekly")
    Select(visit.find("quiet_from")).select_by_value("22:00")
    Select(visit.find("quiet_to")).select_by_value("08:00")
    visit.press("action", "save")
    visit.expect(texts["saved"], "saved")
    chosen = shop.preferences(who)
    assert [(cap.max_contacts, cap.window_hours) for cap in chosen.caps] == [(1, 168)], chosen
    assert (chosen.quiet_hours.start, chosen.quiet_hours.end) == ("22:00", "08:00"), chosen
    visit.press("action", "pause")
    visit.look("paused")
    assert shop.preferences(who).HasField("snooze_end_time")
    visit.press("action", "resume")

    visit.open(shop.link(who, "/u/"), "unsubscribe")
    assert shop.state(who) == api.Consent.STATE_GRANTED, "looking at a page unsubscribed somebody"
    visit.press("action", "topic")
    visit.expect(texts["left"], "unsubscribed")
    assert shop.state(who) == api.Consent.STATE_DENIED

    visit.follow("/p/")
    visit.press("action", "stop")
    visit.look("stopped")
    assert shop.preferences(who).HasField("silence_time")
    visit.open(re.sub("/p/.*", "/u/nonsense", visit.address()), "no-link")


class Shop:
    """What a company's services do."""

    def __init__(self, api, outbox):
        self.api, self.outbox = api, outbox
        names = [api.LocalizedText(text="Newsletter"), api.LocalizedText(locale="lv", text="Jaunumi")]
        about = [api.LocalizedText(text="Once a month"), api.LocalizedText(locale="lv", text="Reizi mēnesī")]
        topic = api.Topic(topic_id="news", names=names, descriptions=about)
        api.PreferenceService.CreateTopic(api.CreateTopicRequest(topic=topic), timeout=LONGEST_CALL)
        variant = api.TemplateVariant(subject="News", text_body="There is news.", html_body="<p>There is news.</p>")
        template = api.Template(template_id="news", variants=[variant])
        api.TemplateService.CreateTemplate(api.CreateTemplateRequest(template=template), timeout=LONGEST_CALL)
        api.TemplateService.PublishTemplate(api.PublishTemplateRequest(template_id="news"), timeout=LONGEST_CALL)

    def customer(self, name, language):
        api = self.api
        address = api.Address(value=f"{name}@example.com")
        customer = api.Customer(external_ids=[name], locale=language, addresses=[address])
        api.CustomerService.CreateCustomer(api.CreateCustomerRequest(customer=customer), timeout=LONGEST_CALL)
        return api.CustomerRef(external_id=name)

    def agree(self, who):
        api = self.api
        request = api.SetConsentRequest(
            customer=who,
            topic_id="news",
            decision=api.SetConsentRequest.DECISION_GRANT,
            method=api.CONSENT_METHOD_WEB_FORM,
        )
        assert api.PreferenceService.SetConsent(request, timeout=LONGEST_CALL).confirmation_planned

    def write(self, who):
        request = self.api.ScheduleContactRequest(customer=who, topic_id="news", template_id="news")
        self.api.ContactService.ScheduleContact(request, timeout=LONGEST_CALL)

    def preferences(self, who):
        request = self.api.GetPreferencesRequest(customer=who)
        return self.api.PreferenceService.GetPreferences(request, timeout=LONGEST_CALL).preferences

    def state(self, who):
        [consent] = self.preferences(who).consents
        return consent.state

    def link(self, who, kind):
        """The link of a kind in the mail that somebody got, as soon as it is there."""
        to = f"{who.external_id}@example.com"
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end:
            for path in self.outbox.glob("*.eml"):
                message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                body = message.get_body(("html",))
                found = re.search(rf'href="(http[^"]*{kind}[^"]*)"', body.get_content() if body else "")
                if found and message["to"].addresses[0].addr_spec == to:
                    return found[1]
            time.sleep(0.05)
        raise SystemExit(f"{to} got no mail with a link to {kind}")


class Visit:
    """A browser of one size; without a judge, one without JavaScript."""

    def __init__(self, name, size, judge, photos):
        self.name, self.judge, self.photos = name, judge, photos
        options = webdriver.ChromeOptions()
        options.add_argument("--headless=new")
        options.add_argument("--no-sandbox")
        options.add_argument("--disable-dev-shm-usage")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not judge:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        # With a driver that is there nothing is looked up on the network.
        self.browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self.width, height = size
        metrics = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.quit()

    def address(self):
        return self.browser.current_url

    def open(self, link, photo):
        self.browser.get(link)
        self.look(photo, missing=photo == "no-link")

    def look(self, photo, missing=False):
        """Photographs the page, and complains about what a careful eye would."""
        place = f"{self.name}: {photo}"
        whole = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (self.photos / f"{self.name}-{photo}.png").write_bytes(base64.b64decode(whole["data"]))
        # That the address led nowhere is what the page is for.
        said = [line for line in self.browser.get_log("browser") if not (missing and "404" in line["message"])]
        assert not said, f"{place} says to the console: {said}"
        if not self.judge:
            return
        wide = self.browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= self.width, f"{place} is {wide} pixels wide, and the window {self.width}"
        self.browser.execute_script(self.judge)
        verdict = self.browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        faults = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in verdict["violations"]]
        assert not faults, f"{place} is not accessible: {faults}"
        assert len(verdict["passes"]) > 10, f"{place} was hardly judged"

    def find(self, name):
        return self.browser.find_element(By.CSS_SELECTOR, f"[name={name}]")

    def press(self, name, value):
        button = self.browser.find_element(By.CSS_SELECTOR, f"button[name={name}][value={value}]")
        assert button.is_displayed() and button.text, (self.name, value)
        self.click(button)

    def expect(self, text, photo):
        page = self.browser.find_element(By.TAG_NAME, "main").text
        assert text in page, f"{self.name}: {photo}: {page}"
        self.look(photo)

    def follow(self, kind):
        self.click(self.browser.find_element(By.CSS_SELECTOR, f"a[href*='{kind}']"))

    def click(self, element):
        """And the next page is there. While the old one goes, the driver may call its elements neither there nor stale."""
        element.click()
        WebDriverWait(self.browser, LONGEST_WAIT, ignored_exceptions=[WebDriverException]).until(staleness_of(element))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*map(Path, sys.argv[1:]))
