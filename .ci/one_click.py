#!/usr/bin/env python3
"""Unsubscribes as a mail program does by RFC 8058, and pesters the link as scanners do before: they must change nothing.

Usage: one_click.py PROGRAM
  PROGRAM  the built rapport
"""

import email
import email.policy
import http.client
import re
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from client import LONGEST_CALL, Api
from serving import service

REPEATS = 1000
LONGEST_WAIT = 20
FORM = ("application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click")
PARTS = (
    'multipart/form-data; boundary="x"',
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
)


def main(program):
    with tempfile.TemporaryDirectory() as folder, service(program, [], folder) as address:
        with tempfile.TemporaryDirectory() as generated, grpc.insecure_channel(address) as channel:
            api = Api(generated, channel)
            set_up(api)
            for name, body in [("anna", FORM), ("berta", PARTS)]:
                one_click(api, Path(folder) / "outbox", name, body)


def one_click(api, outbox, name, post):
    customer(api, name)
    schedule(api, name)
    message = wait_for_mail(outbox, name)
    link = link_of(message)
    later = schedule(api, name, timedelta(minutes=5))
    before = records(api, name)

    for method in ["GET", "HEAD", "OPTIONS"]:
        for _ in range(REPEATS):
            request(link, method)
    assert records(api, name) == before, "a scanner changed something"

    forged = link[:-1] + ("a" if link[-1] != "a" else "b")
    status, headers = request(forged, "POST", post)
    assert 400 <= status < 500, status
    assert records(api, name) == before, "a forged link changed something"

    times = []
    for n in range(100):
        began = time.perf_counter()
        status, headers = request(link, "POST", post)
        times.append(time.perf_counter() - began)
        assert status == 200, status
        assert not {"location", "set-cookie"} & headers, headers
        [consent] = preferences(api, name).consents
        assert consent.state == api.Consent.STATE_DENIED
        assert len(records(api, name)) == len(before) + 1, "a second click says something new"
    times.sort()
    print(f"ok     {name}: {3 * REPEATS} scans changed nothing, one click did; p99 of 100 clicks: {times[98] * 1000:.1f} ms")

    state = api.ContactService.GetContact(api.GetContactRequest(contact_id=later), timeout=LONGEST_CALL).contact.state
    assert state == api.Contact.STATE_CANCELED, state


def link_of(message):
    """The https or http URI that RFC 8058 demands, if all that it demands is there."""
    assert message.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"], message.items()
    [header] = message.get_all("List-Unsubscribe")
    links = [uri for uri in re.findall(r"<([^>]*)>", "".join(header.split())) if uri.startswith("http")]
    assert len(links) == 1, header
    return links[0]


def request(link, method, post=None):
    """Status and names of headers; follows nothing, keeps nothing."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=LONGEST_CALL)
    kind, body = post or (None, None)
    connection.request(method, parts.path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower() for name, _ in answer.getheaders()}


def set_up(api):
    topic = api.Topic(topic_id="news", opt_in=api.Topic.OPT_IN_SINGLE)
    api.PreferenceService.CreateTopic(api.CreateTopicRequest(topic=topic), timeout=LONGEST_CALL)
    template = api.Template(template_id="news", variants=[api.TemplateVariant(subject="News", text_body="There is news.")])
    api.TemplateService.CreateTemplate(api.CreateTemplateRequest(template=template), timeout=LONGEST_CALL)
    api.TemplateService.PublishTemplate(api.PublishTemplateRequest(template_id="news"), timeout=LONGEST_CALL)


def customer(api, name):
    new = api.Customer(external_ids=[name], addresses=[api.Address(value=f"{name}@example.com")])
    api.CustomerService.CreateCustomer(api.CreateCustomerRequest(customer=new), timeout=LONGEST_CALL)
    request = api.SetConsentRequest(
        customer=api.CustomerRef(external_id=name),
        topic_id="news",
        decision=api.SetConsentRequest.DECISION_GRANT,
        method=api.CONSENT_METHOD_WEB_FORM,
    )
    api.PreferenceService.SetConsent(request, timeout=LONGEST_CALL)


def schedule(api, name, ahead=None):
    request = api.ScheduleContactRequest(
        customer=api.CustomerRef(external_id=name), topic_id="news", template_id="news"
    )
    if ahead:
        request.due_time.FromDatetime(datetime.now(timezone.utc) + ahead)
    return api.ContactService.ScheduleContact(request, timeout=LONGEST_CALL).contact.contact_id


def preferences(api, name):
    request = api.GetPreferencesRequest(customer=api.CustomerRef(external_id=name))
    return api.PreferenceService.GetPreferences(request, timeout=LONGEST_CALL).preferences


def records(api, name):
    request = api.ListConsentRecordsRequest(customer=api.CustomerRef(external_id=name))
    return list(api.PreferenceService.ListConsentRecords(request, timeout=LONGEST_CALL).records)


def mails(outbox, name):
    read = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in outbox.glob("*.eml")]
    return [message for message in read if message["to"].addresses[0].addr_spec == f"{name}@example.com"]


def wait_for_mail(outbox, name):
    end = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < end:
        if found := mails(outbox, name):
            return found[0]
        time.sleep(0.05)
    raise SystemExit(f"{name} got no mail")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
