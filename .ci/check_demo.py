#!/usr/bin/env python3
"""Looks at a finished demo from outside: what was printed, the database, and every message, with Python's own libraries.

Usage: check_demo.py FOLDER PRINTED
  FOLDER   what `rapport demo` made: rapport.db and outbox/
  PRINTED  a file with what it printed
"""

import email
import json
import re
import sqlite3
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from email.policy import default as modern
from pathlib import Path
from zoneinfo import ZoneInfo

CHECK_IN, WIN_BACK = "check-in", "win-back"
ENDS = {
    "sent": "sent",
    "suppressed": "suppressed",
    "canceled": "canceled",
    "expired": "expired",
    "failed": "failed",
    "in doubt": "unknown_outcome",
}
EXPLAINED = ["suppressed", "canceled"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
MOST_COMPLAINTS = 5


@dataclass
class Contact:
    """A message that went out."""

    name: str
    customer: bytes
    campaign: str
    topic: str
    purpose: str
    address: str
    display_name: str
    given_name: str
    ordered: datetime
    sent: datetime

    @property
    def file(self):
        return f"{self.name}.eml"


@dataclass
class Quiet:
    """Hours in which somebody wants no mail."""

    start: time
    end: time
    days: list

    def end_after(self, moment):
        """When the quiet around a local moment ends; None when it is not quiet."""
        night = self.end < self.start
        for date in [moment.date() - timedelta(days=1), moment.date()]:
            start = datetime.combine(date, self.start)
            end = datetime.combine(date + timedelta(days=night), self.end)
            if (not self.days or WEEKDAYS[date.weekday()] in self.days) and start <= moment < end:
                return end
        return None


class Demo:
    """What the database says."""

    def __init__(self, folder):
        self.outbox = folder / "outbox"
        self.db = sqlite3.connect(f"{(folder / 'rapport.db').resolve().as_uri()}?mode=ro", uri=True)
        self.zones = {key: ZoneInfo(zone) for key, zone in self.rows("SELECT customer_id, time_zone FROM customers")}
        self.quiet = {
            key: Quiet(time.fromisoformat(hours["start"]), time.fromisoformat(hours["end"]), hours["days"])
            for key, text in self.rows("SELECT customer_id, quiet_hours FROM preferences")
            if text and (hours := json.loads(text))
        }
        self.orders = defaultdict(list)
        for key, when in self.rows("SELECT customer_id, occur_time FROM events WHERE event_type = 'order.placed'"):
            self.orders[key].append(instant(when))
        self.ledger = defaultdict(list)
        for key, *record, when in self.rows("SELECT customer_id, act, topic_id, occur_time FROM consent_records"):
            self.ledger[key].append((*record, instant(when)))
        self.sent = [
            Contact(contact_name(key), *rest, instant(ordered), instant(sent))
            for key, *rest, ordered, sent in self.rows(
                "SELECT contact_id, c.customer_id, c.campaign_id, c.topic_id, c.purpose, a.value, k.display_name,"
                " k.given_name, e.occur_time, c.send_time FROM contacts c JOIN addresses a USING (address_id)"
                " JOIN customers k ON k.customer_id = c.customer_id JOIN events e USING (event_id)"
                " WHERE c.state = 'sent'"
            )
        ]

    def rows(self, query):
        return self.db.execute(query)

    def local(self, contact, moment):
        """The wall clock of a contact's customer."""
        return moment.astimezone(self.zones[contact.customer]).replace(tzinfo=None)


def instant(text):
    """A moment as the database writes it."""
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() == timedelta(0), text
    return moment.astimezone(timezone.utc)


def contact_name(key):
    """The id that the API shows: the 128 bits in Crockford's base 32."""
    bits = int.from_bytes(key, "big")
    return "cnt_" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[bits >> 5 * place & 31] for place in range(25, -1, -1))


# Each check answers how many things it looked at, and what is wrong with them.


def the_printed_numbers_add_up(demo, printed):
    rows, reasons = numbers(printed)
    wrong = [f"there is no line {name!r}" for name in ["planned", *ENDS] if name not in rows]
    wrong += [f"there are no reasons under {name!r}" for name in EXPLAINED if name not in reasons]
    if wrong:
        return 0, wrong
    every_row = [*rows.items(), *(row for under in reasons.values() for row in under)]
    for name, (first, second, together) in every_row:
        if first + second != together:
            wrong.append(f"{name}: {first} and {second} are not {together}")
    counted = Counter(demo.rows("SELECT campaign_id, state FROM contacts"))
    for column, campaign in enumerate([CHECK_IN, WIN_BACK]):
        column_of = {name: row[column] for name, row in rows.items()}
        ends = sum(column_of[name] for name in ENDS)
        if column_of["planned"] != ends:
            wrong.append(f"{campaign}: {column_of['planned']} were planned, {ends} ended")
        for name in EXPLAINED:
            explained = sum(row[column] for _, row in reasons[name])
            if column_of[name] != explained:
                wrong.append(f"{campaign}: {column_of[name]} were {name}, {explained} of them have a reason")
        recorded = {name: counted[campaign, state] for name, state in ENDS.items()}
        recorded["planned"] = sum(count for (id, _), count in counted.items() if id == campaign)
        for name, count in recorded.items():
            if column_of[name] != count:
                wrong.append(f"{campaign}, {name}: printed is {column_of[name]}, the database has {count}")
    return len(every_row), wrong


def numbers(printed):
    """The rows of the table, a name and three numbers each; and the rows that stand deeper, by the row above them."""
    rows, reasons, above = {}, defaultdict(list), None
    for indent, name, *row in re.findall(r"^( +)(\S.*?) +(\d+) +(\d+) +(\d+)$", printed, re.MULTILINE):
        row = tuple(map(int, row))
        if len(indent) > 2:
            reasons[above].append((name, row))
        else:
            rows[name], above = row, name
    return rows, reasons


def every_sent_contact_is_one_file(demo, _):
    expected, found = {contact.file for contact in demo.sent}, {path.name for path in demo.outbox.iterdir()}
    wrong = [f"{name} was sent and is not there" for name in expected - found]
    return len(found), wrong + [f"{name} is there and was not sent" for name in found - expected]


def every_file_is_a_flawless_message(demo, _):
    wrong, message_ids = [], Counter()
    for contact in demo.sent:
        path = demo.outbox / contact.file
        if path.exists():
            data = path.read_bytes()
            message = email.message_from_bytes(data, policy=modern)
            headers = message.items()
            message_ids.update(value for name, value in headers if name == "Message-ID")
            complaints = [*wrong_bytes(data), *wrong_envelope(headers, contact), *wrong_parts(message, contact)]
            wrong += [f"{contact.file}: {complaint}" for complaint in complaints]
    wrong += [f"{count} messages are {id}" for id, count in message_ids.items() if count > 1]
    return sum(message_ids.values()), wrong


def wrong_bytes(data):
    lines = data.split(b"\r\n")
    if lines.pop():
        yield "the last line does not end"
    if any(b"\r" in line or b"\n" in line for line in lines):
        yield "a line does not end with CRLF"
    if max(map(len, lines), default=0) > 998:
        yield "a line is longer than 998 bytes"
    if not data.isascii():
        yield "a byte is not ASCII"


def wrong_envelope(headers, contact):
    yield from wrong_headers(headers)
    for name in ["Date", "From", "To", "Subject", "Message-ID"]:
        if [header for header, _ in headers].count(name) != 1:
            yield f"it has not one {name}"
            return
    values = dict(headers)
    recipients = [(address.display_name, address.addr_spec) for address in values["To"].addresses]
    if recipients != [(contact.display_name, contact.address)]:
        yield f"it goes to {recipients}, the database says {contact.display_name} <{contact.address}>"
    if values["Date"].datetime != contact.sent:
        yield f"it is of {values['Date']}, the database says {contact.sent}"


def wrong_parts(message, contact):
    texts = 0
    for part in message.walk():
        kind = part.get_content_type()
        if part is not message:
            yield from wrong_headers(part.items())
        if not part.is_multipart():
            if (encoding := part.get("Content-Transfer-Encoding", "7bit")) not in ("7bit", "quoted-printable", "base64"):
                yield f"{kind}: it is encoded as {encoding}"
            try:
                texts += contact.given_name in part.get_content()
            except (LookupError, ValueError) as error:
                yield f"{kind}: {error!r}"
        yield from (f"{kind}: {defect!r}" for defect in part.defects)
    if texts != 2:
        yield f"{contact.given_name} is named in {texts} parts instead of 2"


def wrong_headers(headers):
    for name, value in headers:
        yield from (f"{name}: {defect!r}" for defect in value.defects)
        if "=?" in value or "\N{REPLACEMENT CHARACTER}" in value:
            yield f"{name} does not decode: {value}"


def every_check_in_came_at_ten_or_when_the_quiet_was_over(demo, _):
    contacts, wrong = [contact for contact in demo.sent if contact.campaign == CHECK_IN], []
    for contact in contacts:
        week_later = demo.local(contact, contact.ordered).date() + timedelta(days=7)
        expected = ten = datetime.combine(week_later, time(10))
        if quiet := demo.quiet.get(contact.customer):
            expected = quiet.end_after(ten) or ten
        if (sent := demo.local(contact, contact.sent)) != expected:
            wrong.append(f"{contact.name} went out at {sent} local time instead of {expected}")
    return len(contacts), wrong


def no_win_back_went_to_somebody_who_had_bought(demo, _):
    contacts, wrong = [contact for contact in demo.sent if contact.campaign == WIN_BACK], []
    for contact in contacts:
        first = contact.sent - timedelta(days=60)
        if recent := [order for order in demo.orders[contact.customer] if first <= order <= contact.sent]:
            wrong.append(f"{contact.name} went out at {contact.sent}, an order was placed at {recent[0]}")
    return len(contacts), wrong


def nobody_got_what_they_did_not_want(demo, _):
    wrong = []
    for contact in demo.sent:
        concerns = {("grant", contact.topic), ("withdraw", contact.topic)}
        if contact.purpose != "transactional":
            concerns.add(("silence", None))
        needs_consent = contact.purpose in ("marketing", "survey")
        if needs_consent:
            concerns.add(("object", None))
        said = [
            (when, act != "grant", act)
            for act, topic, when in demo.ledger[contact.customer]
            if (act, topic) in concerns and when < contact.sent
        ]
        when, _, act = max(said, default=(None, None, None))
        if act not in (None, "grant") or (needs_consent and act is None):
            wrong.append(f"{contact.name} ({contact.topic}) went out at {contact.sent}; last said was: {act}, {when}")
    goodbyes = [act for records in demo.ledger.values() for act, *_ in records if act != "grant"]
    return len(demo.sent) if goodbyes else 0, wrong


CHECKS = [
    the_printed_numbers_add_up,
    every_sent_contact_is_one_file,
    every_file_is_a_flawless_message,
    every_check_in_came_at_ten_or_when_the_quiet_was_over,
    no_win_back_went_to_somebody_who_had_bought,
    nobody_got_what_they_did_not_want,
]


def main():
    folder, printed = Path(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8")
    demo, failed = Demo(folder), False
    for check in CHECKS:
        looked_at, wrong = check(demo, printed)
        if not looked_at:
            wrong = wrong or ["there was nothing to look at"]
        failed = failed or bool(wrong)
        print(f"{'WRONG' if wrong else 'ok':<5}  {check.__name__.replace('_', ' ')} ({looked_at} looked at)")
        for complaint in wrong[:MOST_COMPLAINTS]:
            print(f"       {complaint}")
        if len(wrong) > MOST_COMPLAINTS:
            print(f"       and {len(wrong) - MOST_COMPLAINTS} more")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main())
