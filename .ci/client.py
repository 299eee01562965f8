#!/usr/bin/env python3
"""A client in Python, made from proto/ by grpcio-tools: sets a follow-up up, reports an event, reads what comes of it, and streams.

Usage: client.py PROGRAM
  PROGRAM  the built rapport
"""

import importlib
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from serving import fresh_service

PROTO = Path(__file__).resolve().parent.parent / "proto"
ZONE = "Asia/Kathmandu"
LONGEST_CALL = 20


class Api:
    """The generated modules, and a stub of every service on one channel."""

    def __init__(self, folder, channel):
        sys.path.insert(0, folder)
        compile_contract(folder)
        for path in sorted((PROTO / "rapport/v1").glob("*.proto")):
            self.__dict__.update(vars(importlib.import_module(f"rapport.v1.{path.stem}_pb2")))
            stubs = vars(importlib.import_module(f"rapport.v1.{path.stem}_pb2_grpc"))
            self.__dict__.update({name[:-4]: stub(channel) for name, stub in stubs.items() if name.endswith("Stub")})


def compile_contract(folder):
    sources = [str(path) for path in (PROTO / "rapport/v1").glob("*.proto")]
    places = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *places, *sources]):
        raise SystemExit("the contract does not compile")


def set_up(api):
    """A topic, a template and a campaign: a check-in three days after a visit."""
    topic = api.Topic(
        topic_id="visits",
        names=[api.LocalizedText(text="Your visits")],
        purpose=api.PURPOSE_SERVICE,
        opt_in=api.Topic.OPT_IN_NONE,
    )
    stored = api.PreferenceService.CreateTopic(api.CreateTopicRequest(topic=topic), timeout=LONGEST_CALL).topic
    assert stored.etag and stored.channels == [api.CHANNEL_EMAIL], stored

    variant = api.TemplateVariant(subject="Visit {{ event.subject }}", text_body="Namaste {{ customer.given_name }}.")
    template = api.Template(template_id="visit", variants=[variant])
    template.sample_data.update({"customer": {"given_name": "Maya"}, "event": {"subject": "v-0"}})
    request = api.CreateTemplateRequest(template=template)
    created = api.TemplateService.CreateTemplate(request, timeout=LONGEST_CALL)
    assert created.template.state == api.Template.STATE_DRAFT and not created.problems, created
    request = api.PublishTemplateRequest(template_id="visit", etag=created.template.etag)
    published = api.TemplateService.PublishTemplate(request, timeout=LONGEST_CALL).template
    assert (published.state, published.version) == (api.Template.STATE_PUBLISHED, 1), published

    step = api.Step(
        step_id="ask",
        delay=api.Delay(calendar=api.CalendarDelay(days=3, at="09:30")),
        send=api.SendAction(template_id="visit"),
    )
    campaign = api.Campaign(
        campaign_id="after-a-visit",
        topic_id="visits",
        event=api.EventTrigger(event_type="visit.ended"),
        steps=[step],
    )
    request = api.CreateCampaignRequest(campaign=campaign)
    draft = api.CampaignService.CreateCampaign(request, timeout=LONGEST_CALL).campaign
    request = api.ActivateCampaignRequest(campaign_id="after-a-visit", etag=draft.etag)
    active = api.CampaignService.ActivateCampaign(request, timeout=LONGEST_CALL).campaign
    assert active.state == api.Campaign.STATE_ACTIVE and active.purpose == api.PURPOSE_SERVICE, active


def follow_a_customer(api):
    """A customer, an event, its receipt, and why the message waits."""
    customer = api.Customer(
        external_ids=["guest-1"],
        given_name="Maya",
        time_zone=ZONE,
        locale="ne",
        addresses=[api.Address(value="maya@example.com")],
    )
    request = api.CreateCustomerRequest(customer=customer)
    customer = api.CustomerService.CreateCustomer(request, timeout=LONGEST_CALL).customer
    assert customer.customer_id.startswith("cus_") and customer.addresses[0].primary, customer

    now = datetime.now(timezone.utc)
    event = api.Event(
        source="reception",
        source_event_id="visit-1",
        customer=api.CustomerRef(external_id="guest-1"),
        event_type="visit.ended",
        subject="visit-1",
        value=api.Money(currency_code="NPR", amount="1200.50"),
    )
    event.occur_time.FromDatetime(now)
    receipt = api.EventService.RecordEvent(api.RecordEventRequest(event=event), timeout=LONGEST_CALL)
    assert receipt.event.customer_id == customer.customer_id and not receipt.duplicate, receipt
    assert receipt.event.value == event.value, receipt
    [effect] = receipt.effects
    assert (effect.campaign_id, effect.outcome) == ("after-a-visit", api.CampaignEffect.OUTCOME_ENROLLED), effect
    due = (now.astimezone(ZoneInfo(ZONE)) + timedelta(days=3)).replace(hour=9, minute=30, second=0, microsecond=0)
    assert effect.due_local_time == f"{due:%Y-%m-%dT%H:%M} {ZONE}", effect
    assert effect.due_time.ToDatetime(timezone.utc) == due, effect

    again = api.EventService.RecordEvent(api.RecordEventRequest(event=event), timeout=LONGEST_CALL)
    assert again.duplicate and list(again.effects) == [effect] and again.event == receipt.event, again

    request = api.ExplainContactRequest(contact_id=effect.contact_id)
    why = api.ContactService.ExplainContact(request, timeout=LONGEST_CALL)
    assert why.summary and why.contact.state == api.Contact.STATE_SCHEDULED, why
    assert why.checks and all(check.passed for check in why.checks), why
    assert why.next_allowed_time == effect.due_time and not why.attempts and not why.decisions, why


def read_an_error(api):
    """Three wrong fields, and what a program can read about them."""
    customer = api.Customer(
        time_zone="Mars/Olympus",
        locale="zz_!!",
        addresses=[api.Address(value="nobody")],
    )
    try:
        api.CustomerService.CreateCustomer(api.CreateCustomerRequest(customer=customer), timeout=LONGEST_CALL)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        status = rpc_status.from_call(error)
    else:
        raise SystemExit("three wrong fields were taken")
    assert status and status.message, status
    info, wrong = detail(status, error_details_pb2.ErrorInfo), detail(status, error_details_pb2.BadRequest)
    assert (info.reason, info.domain) == ("INVALID_FIELDS", "rapport.v1"), info
    fields = [violation.field for violation in wrong.field_violations]
    assert sorted(fields) == ["customer.addresses[0].value", "customer.locale", "customer.timeZone"], wrong
    assert all(violation.description for violation in wrong.field_violations), wrong


def stream_customers_and_events(api):
    """Two thousand customers and their events go in by streams, whose answers come while they are sent; the same again does nothing."""
    count = 2_000

    def rows():
        yield api.ImportCustomersRequest(options=api.ImportOptions(update_existing=True))
        for number in range(1, count + 1):
            address = api.Address(value=f"guest-{number}@example.com" if number != 7 else "nobody")
            customer = api.Customer(external_ids=[f"member-{number}"], addresses=[address])
            yield api.ImportCustomersRequest(row=api.ImportRow(row=number, customer=customer))

    for expected in [(count - 1, 0), (0, count - 1)]:
        answers = list(api.CustomerService.ImportCustomers(rows(), timeout=3 * LONGEST_CALL))
        last = answers[-1]
        assert len(answers) > 1 and last.last_row == last.received == count and last.rejected == 1, last
        assert (last.created, last.unchanged) == expected, last
        [wrong] = [error for answer in answers for error in answer.errors]
        assert (wrong.row, wrong.field, wrong.reason) == (7, "customer.addresses[0].value", "INVALID_FIELDS"), wrong

    def events():
        for number in range(300):
            event = api.Event(
                source="reception",
                source_event_id=f"stay-{number}",
                customer=api.CustomerRef(external_id=f"member-{number + 1}"),
                event_type="stay.booked",
            )
            event.occur_time.FromDatetime(datetime(2026, 1, 1, tzinfo=timezone.utc))
            yield api.StreamEventsRequest(event=event)

    for expected in [(299, 0), (0, 299)]:
        answers = list(api.EventService.StreamEvents(events(), timeout=3 * LONGEST_CALL))
        last = answers[-1]
        assert last.received == 300 and (last.recorded, last.duplicates, last.rejected) == (*expected, 1), last
        [rejected] = [one for answer in answers for one in answer.rejections]
        assert (rejected.index, rejected.reason) == (6, "CUSTOMER_NOT_FOUND"), rejected
    named = [api.CustomerRef(external_id=f"member-{number}") for number in [9, 7, 8]]
    found = api.CustomerService.BatchGetCustomers(api.BatchGetCustomersRequest(customers=named), timeout=LONGEST_CALL)
    assert [customer.external_ids[0] for customer in found.customers] == ["member-9", "member-8"], found
    assert [missing.external_id for missing in found.missing] == ["member-7"], found


def detail(status, kind):
    """The one detail of a kind."""
    [found] = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    unpacked = kind()
    assert found.Unpack(unpacked)
    return unpacked


def main():
    with (
        fresh_service(sys.argv[1]) as address,
        tempfile.TemporaryDirectory() as folder,
        grpc.insecure_channel(address) as channel,
    ):
        api = Api(folder, channel)
        for act in [set_up, follow_a_customer, read_an_error, stream_customers_and_events]:
            act(api)
            print(f"ok     {act.__name__.replace('_', ' ')}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
