#!/usr/bin/env python3
"""Looks at a finished demo from outside: what was printed, the database, and every message, with Python's own libraries.

Usage: check_demo.py FOLDER PRINTED
  FOLDER   what `rapport demo` made: rapport.db and outbox/
  PRINTED  a file with what it printed
"""

import email
import hashlib
import json
import math
import re
import sqlite3
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from email.policy import default as modern
from pathlib import Path
from zoneinfo import ZoneInfo

import croniter

CHECK_IN, THANK_YOU, WIN_BACK, NEWSLETTER, BIRTHDAY = CAMPAIGNS = ["check-in", "thank-you", "win-back", "newsletter", "birthday"]
# Newsletters and birthdays end when June 1998 is over everywhere.
BEGIN, END = datetime(1997, 1, 1), datetime(1998, 7, 1, 12, tzinfo=timezone.utc)
NEWSLETTER_CRON = "0 9 L * *"
VARIANTS, GOAL_DAYS = ["news", "question"], 30
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
    variant: str | None
    due: datetime
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
        self.zones, self.birthdays = {}, {}
        for key, zone, text in self.rows("SELECT customer_id, time_zone, attributes FROM customers"):
            self.zones[key] = ZoneInfo(zone)
            if birthday := json.loads(text).get("birthday"):
                self.birthdays[key] = date.fromisoformat(birthday)
        self.quiet = {
            key: Quiet(time.fromisoformat(hours["start"]), time.fromisoformat(hours["end"]), hours["days"])
            for key, text in self.rows("SELECT customer_id, quiet_hours FROM preferences")
            if text and (hours := json.loads(text))
        }
        self.orders = defaultdict(list)
        for key, when in self.rows("SELECT customer_id, occur_time FROM events WHERE event_type = 'order.placed'"):
            self.orders[key].append(instant(when))
        for orders in self.orders.values():
            orders.sort()
        self.ledger = defaultdict(list)
        for key, *record, when in self.rows("SELECT customer_id, act, topic_id, occur_time FROM consent_records"):
            self.ledger[key].append((*record, instant(when)))
        self.sent = [
            Contact(contact_name(key), *rest, instant(due), instant(sent))
            for key, *rest, due, sent in self.rows(
                "SELECT contact_id, c.customer_id, c.campaign_id, c.topic_id, c.purpose, a.value, k.display_name,"
                " k.given_name, c.variant_id, c.original_due_time, c.send_time FROM contacts c"
                " JOIN addresses a USING (address_id) JOIN customers k ON k.customer_id = c.customer_id"
                " WHERE c.state = 'sent'"
            )
        ]

    def rows(self, query):
        return self.db.execute(query)

    def of(self, campaign):
        """What one campaign sent."""
        return [contact for contact in self.sent if contact.campaign == campaign]

    def local(self, customer, moment):
        """The wall clock of a customer."""
        return moment.astimezone(self.zones[customer]).replace(tzinfo=None)

    def instant(self, customer, local):
        """The moment at which a customer's wall clock shows this."""
        return local.replace(tzinfo=self.zones[customer]).astimezone(timezone.utc)

    def awake(self, customer, moment):
        """The first moment from this one on at which a customer takes mail."""
        quiet = self.quiet.get(customer)
        end = quiet and quiet.end_after(self.local(customer, moment))
        return self.instant(customer, end) if end else moment

    def signed_up(self, customer):
        return self.orders[customer][0]

    def refusal(self, customer, topic, purpose, moment):
        """Why nothing about a topic may go to a customer at a moment; None when it may. Nobody in the demo takes back a no."""
        said = {(act, about) for act, about, when in self.ledger[customer] if when < moment}
        needs_consent = purpose == "marketing"
        if ("silence", None) in said or (needs_consent and ("object", None) in said):
            return "objected"
        if ("withdraw", topic) in said:
            return "opted_out"
        return "no_consent" if needs_consent and ("grant", topic) not in said else None


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
    for name, (*each, together) in every_row:
        if len(each) != len(CAMPAIGNS) or sum(each) != together:
            wrong.append(f"{name}: {each} are not {together}")
    if wrong:
        return 0, wrong
    counted = Counter()
    for campaign, state, count in demo.rows("SELECT campaign_id, state, COUNT(*) FROM contacts GROUP BY 1, 2"):
        counted[campaign, state] += count
    # Whom a newsletter leaves out has no contact, but is counted.
    for campaign, count in demo.rows(
        "SELECT campaign_id, SUM(customers) FROM run_exclusions JOIN campaign_runs USING (run_id)"
        " WHERE effect = 'suppress' GROUP BY 1"
    ):
        counted[campaign, "suppressed"] += count
    for column, campaign in enumerate(CAMPAIGNS):
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
    """The rows of the table, a name and a number for each column; and the rows that stand deeper, by the row above them."""
    rows, reasons, above = {}, defaultdict(list), None
    for indent, name, row in re.findall(r"^( +)(\S.*?)((?: +\d+){3,})$", printed, re.MULTILINE):
        row = tuple(map(int, row.split()))
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


def every_order_was_asked_about_a_week_later_at_ten(demo, _):
    wanted = []
    for customer, orders in demo.orders.items():
        for order in orders:
            week_later = demo.local(customer, order).date() + timedelta(days=7)
            wanted.append((customer, demo.instant(customer, datetime.combine(week_later, time(10)))))
    return compare(demo, CHECK_IN, "after-sales", "service", wanted)


def the_fifth_order_was_thanked_for_the_day_after_and_no_other(demo, _):
    wanted = []
    for customer, orders in demo.orders.items():
        if len(orders) >= 5:
            day_after = demo.local(customer, orders[4]).date() + timedelta(days=1)
            wanted.append((customer, demo.instant(customer, datetime.combine(day_after, time(16)))))
    return compare(demo, THANK_YOU, "after-sales", "service", wanted)


def win_backs_came_after_sixty_days_without_an_order_at_six(demo, _):
    wanted = []
    for customer, orders in demo.orders.items():
        for order, following in zip(orders, [*orders[1:], None]):
            then = demo.local(customer, order).date() + timedelta(days=60)
            due = demo.instant(customer, datetime.combine(then, time(18)))
            # Another order calls off what waits, also for the end of quiet hours.
            if following is None or following > demo.awake(customer, due):
                wanted.append((customer, due))
    return compare(demo, WIN_BACK, "offers", "marketing", wanted)


def birthdays_were_greeted_at_nine(demo, _):
    wanted, leap_days = [], 0
    for customer, born in demo.birthdays.items():
        for year in (1997, 1998):
            leap_day = (born.month, born.day) == (2, 29)
            day = date(year, 2, 28) if leap_day else born.replace(year=year)
            due = demo.instant(customer, datetime.combine(day, time(9)))
            if demo.signed_up(customer) < due < END:
                wanted.append((customer, due))
                leap_days += leap_day
    looked_at, wrong = compare(demo, BIRTHDAY, "offers", "marketing", wanted)
    if not leap_days or len(demo.birthdays) == len(demo.zones):
        wrong.append(f"{leap_days} birthdays on 29 February, {len(demo.birthdays)} of {len(demo.zones)} say when theirs is")
    return looked_at, wrong


def the_newsletter_came_on_the_last_day_of_each_month_at_nine_everywhere(demo, _):
    times, each = [], croniter.croniter(NEWSLETTER_CRON, BEGIN)
    while (local := each.get_next(datetime)).replace(tzinfo=timezone.utc) < END:
        times.append(local)
    wanted, refused = [], Counter()
    for local in times:
        for customer in demo.zones:
            due = demo.instant(customer, local)
            said = {act for act, about, when in demo.ledger[customer] if about == "news" and when < due}
            if "grant" in said and "withdraw" not in said:
                wanted.append((customer, due))
                if reason := demo.refusal(customer, "news", "marketing", due):
                    refused[local.isoformat(timespec="minutes"), reason] += 1
    looked_at, wrong = compare(demo, NEWSLETTER, "news", "marketing", wanted)
    recorded = {
        (local, reason): count
        for local, reason, count in demo.rows(
            "SELECT local_time, reason, SUM(customers) FROM campaign_runs JOIN run_exclusions USING (run_id) GROUP BY 1, 2"
        )
    }
    for key in sorted(refused.keys() | recorded.keys()):
        if refused[key] != recorded.get(key, 0):
            wrong.append(f"{key}: the model leaves out {refused[key]}, the service {recorded.get(key, 0)}")
    states = Counter(state for (state,) in demo.rows("SELECT state FROM campaign_runs"))
    if states != {"finished": len(times)}:
        wrong.append(f"of {len(times)} newsletters the runs are {dict(states)}")
    return looked_at + len(recorded), wrong


def compare(demo, campaign, topic, purpose, wanted):
    """Whether a campaign sent what was wanted where that may be, each when its customer takes mail, and nothing else."""
    expected = Counter()
    for customer, due in wanted:
        when = demo.awake(customer, due)
        if not demo.refusal(customer, topic, purpose, when):
            expected[customer, when] += 1
    found = Counter((contact.customer, contact.sent) for contact in demo.of(campaign))
    wrong = [f"{campaign}: {count} missing for {key.hex()} at {when}" for (key, when), count in (expected - found).items()]
    wrong += [f"{campaign}: {count} too many for {key.hex()} at {when}" for (key, when), count in (found - expected).items()]
    return found.total(), wrong


def the_experiment_is_what_a_hash_and_the_orders_make_of_it(demo, printed):
    sent, ordered, wrong = Counter(), Counter(), []
    for contact in demo.of(WIN_BACK):
        digest = hashlib.sha256(b"variant\0win-back\0mail\0" + contact.customer).digest()
        variant = VARIANTS[int.from_bytes(digest[:8], "big") * len(VARIANTS) >> 64]
        if contact.variant != variant:
            wrong.append(f"{contact.name} is of {contact.variant} instead of {variant}")
        sent[variant] += 1
        end = contact.sent + timedelta(days=GOAL_DAYS)
        ordered[variant] += any(contact.sent <= order <= end for order in demo.orders[contact.customer])
    for variant in VARIANTS:
        low, high = wilson(ordered[variant], sent[variant])
        share = ordered[variant] / sent[variant]
        line = f"  {variant:<22} {sent[variant]:>10} {ordered[variant]:>10} {share:>8.1%} {low:.1%} to {high:.1%}"
        pattern = r" +".join(map(re.escape, line.replace("%", " %").split()))
        if not re.search(rf"^ +{pattern}$", printed, re.MULTILINE):
            wrong.append(f"not printed: {line}")
    return sent.total(), wrong


def wilson(some, of):
    """Between what the true share is with 95 % certainty."""
    z, share = 1.96, some / of
    centre = share + z * z / (2 * of)
    spread = z * math.sqrt((share * (1 - share) + z * z / (4 * of)) / of)
    return (centre - spread) / (1 + z * z / of), (centre + spread) / (1 + z * z / of)


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
    every_order_was_asked_about_a_week_later_at_ten,
    the_fifth_order_was_thanked_for_the_day_after_and_no_other,
    win_backs_came_after_sixty_days_without_an_order_at_six,
    the_newsletter_came_on_the_last_day_of_each_month_at_nine_everywhere,
    birthdays_were_greeted_at_nine,
    the_experiment_is_what_a_hash_and_the_orders_make_of_it,
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
