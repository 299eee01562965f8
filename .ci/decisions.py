#!/usr/bin/env python3
"""Holds the gate against an independent model of the rules of who may be written to, and when.

    .ci/decisions.py [--cases N] [--seed N]

Draws cases, has the gate answer them (tests/decisions.rs), and works each out by itself: from the text of the contract and of the
design, sharing no code with the service. Where the gate steps from moment to moment, the model looks at every moment at which
anything can change, the earliest first, and takes the first at which nothing stands in the way.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zoneinfo

ZONES = ["UTC", "Europe/Riga", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/St_Johns"]
# Far from every change of the clocks in these zones: tests/deferral.rs is about those.
STARTS = ["2026-02-02T00:00:00Z", "2026-02-04T00:00:00Z", "2026-06-29T00:00:00Z", "2027-01-16T00:00:00Z"]
DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
HOUR, DAY = 60, 24 * 60
# The moment of the question, in minutes from the start: there are days before and after it.
EARLIEST, LATEST = 5 * DAY, 7 * DAY

OWN_ACTS = ["web_form", "double_opt_in", "preference_page", "reply", "in_person"]
GRANTING = OWN_ACTS + ["operator", "import"]
METHODS = GRANTING + ["one_click", "complaint"]
CAUSES = ["legal", "erasure", "complaint", "hard_bounce", "operator", "soft_bounces"]


# ---- Cases


class Draw:
    def __init__(self, seed):
        self.dice = random.Random(seed)

    def chance(self, probability):
        return self.dice.random() < probability

    def near(self, now, days=3):
        """A moment around now, and now and then this very moment or one beside it."""
        if self.chance(0.08):
            return now + self.dice.choice([-1, 0, 1])
        return now + self.dice.randint(-days * DAY, days * DAY)

    def maybe(self, probability, draw, *given):
        return draw(*given) if self.chance(probability) else None

    def quiet_hours(self):
        start, end = self.dice.sample(range(0, DAY, 15), 2)
        days = [] if self.chance(0.6) else self.dice.sample(DAYS, self.dice.randint(1, 6))
        show = lambda minute: f"{minute // 60:02}:{minute % 60:02}"
        return {"start": show(start), "end": show(end), "days": days}

    def cap(self):
        return {
            "topic": self.dice.choice([None, "this", "other"]),
            "most": self.dice.randint(1, 4),
            "hours": self.dice.choice([1, 6, 24, 72, 168]),
            "on_hit": self.dice.choice([None, None, "defer", "skip"]),
        }

    def caps(self, probability):
        return [self.cap() for _ in range(self.dice.randint(1, 2))] if self.chance(probability) else []

    def consent(self, topic, now, addresses):
        state = self.dice.choices(["granted", "pending", "denied"], [6, 1, 2])[0]
        method = self.dice.choice({"granted": GRANTING, "pending": OWN_ACTS, "denied": METHODS}[state])
        until = None
        if state == "pending" or state == "granted" and self.chance(0.2):
            until = self.near(now)
        # The last one is an address that was removed since.
        address = self.dice.choices([0, 1, 2, None], [8, 2, 1, 1])[0] if state != "denied" else None
        if address is not None and address < 2 and address >= addresses:
            address = 0 if addresses else 2
        return {"topic": topic, "state": state, "method": method, "address": address, "since": self.near(now), "until": until}

    def pause(self, now):
        purposes = self.dice.choice([[], [], ["marketing", "survey"], ["marketing"]])
        return {"until": self.maybe(0.7, self.near, now), "purposes": purposes}

    def topic(self):
        purpose = self.dice.choice(["transactional", "service", "marketing", "survey"])
        if purpose in ("marketing", "survey"):
            opt_in = self.dice.choice(["double", "single", "soft"])
        else:
            opt_in = self.dice.choices(["none", "single", "double"], [6, 1, 1])[0]
        return {
            "id": "this",
            "purpose": purpose,
            "opt_in": opt_in,
            "essential": purpose == "transactional" and self.chance(0.5),
        }

    def case(self):
        now = self.dice.randint(EARLIEST, LATEST)
        # Most cases have few troubles: where there are many, only the first is ever named.
        trouble = self.dice.choice([0.03, 0.1, 0.3])
        addresses = self.dice.choices([0, 1, 2], [trouble, 6, 3])[0]
        topic = self.topic()
        wants = 0.9 if topic["purpose"] in ("marketing", "survey") else 0.3
        consents = [self.consent("this", now, addresses)] if self.chance(wants) else []
        if self.chance(0.3):
            consents.append(self.consent("other", now, addresses))
        follow_up = self.chance(0.5)
        suppressions = []
        for place in range(addresses):
            for cause in CAUSES:
                if self.chance(trouble / 2):
                    suppressions.append({"address": place, "cause": cause, "until": self.maybe(0.4, self.near, now)})
        return {
            "start": self.dice.choice(STARTS),
            "now": now,
            "customer": {
                "erased": self.chance(trouble / 6),
                "deleted": self.chance(trouble / 6),
                "zone": self.dice.choice([None, *ZONES]),
                "addresses": addresses,
                "primary": self.dice.randrange(addresses) if addresses else None,
            },
            "policy": {
                "zone": self.dice.choice(ZONES),
                "quiet_hours": self.maybe(0.3, self.quiet_hours),
                "caps": self.caps(0.3),
            },
            "pauses": [self.pause(now) for _ in range(self.dice.randint(1, 2))] if self.chance(trouble) else [],
            "suppressions": suppressions,
            "topic": topic,
            "said": {
                "consents": consents,
                "objected": self.maybe(trouble, self.near, now),
                "silenced": self.maybe(trouble, self.near, now),
                "snoozed_until": self.maybe(trouble * 2, self.near, now),
                "quiet_hours": self.maybe(0.3, self.quiet_hours),
                "caps": self.caps(0.3),
            },
            "got": [
                {"topic": self.dice.choice(["this", "other"]), "at": now - self.dice.randint(0, 5 * DAY)}
                for _ in range(self.dice.randint(0, 5))
            ],
            "ahead": [
                {"topic": self.dice.choice(["this", "other"]), "until": now + self.dice.randint(1, 2 * HOUR)}
                for _ in range(self.dice.choices([0, 1, 2], [6, 1, 1])[0])
            ],
            "contact": {
                "expires": self.maybe(0.7, self.near, now + DAY),
                "enrollment": self.dice.choices(["active", "completed", "exited"], [8, 1, trouble * 2])[0] if follow_up else None,
                "in_audience": not (follow_up and self.chance(trouble / 3)),
                "campaign": "paused" if follow_up and self.chance(trouble / 2) else "active",
                # "Follow-ups and service messages wait, other ad-hoc messages are not sent."
                "waits_for_room": follow_up or topic["purpose"] in ("transactional", "service"),
                "template_error": self.chance(trouble / 3),
                "turn": self.maybe(trouble, self.near, now),
                "again": self.maybe(trouble, self.near, now),
            },
            "circuit_open_until": self.maybe(trouble, self.near, now),
            "sender_looked_at": self.maybe(trouble, self.near, now),
            "held_out": self.chance(trouble),
        }


# ---- The model


class Model:
    """One case, asked about at whatever moment."""

    def __init__(self, case):
        self.case = case
        self.purpose = case["topic"]["purpose"]
        self.transactional = self.purpose == "transactional"
        self.start = datetime.datetime.fromisoformat(case["start"])
        self.zone = zoneinfo.ZoneInfo(case["customer"]["zone"] or case["policy"]["zone"])
        self.said = next((said for said in case["said"]["consents"] if said["topic"] == "this"), None)

    # Where it goes

    def address(self):
        """The address that a grant is for, where the customer has it still; else the primary one."""
        known = self.case["customer"]["addresses"]
        if self.said and self.said["state"] == "granted" and self.said["address"] is not None and self.said["address"] < known:
            return self.said["address"]
        return self.case["customer"]["primary"]

    # What ends it, in the order of the list

    def ends(self, now):
        case, contact = self.case, self.case["contact"]
        if case["customer"]["erased"]:
            yield "customer_erased", "suppress"
        if case["customer"]["deleted"]:
            yield "customer_deleted", "suppress"
        if contact["expires"] is not None and now >= contact["expires"]:
            yield "expired", "expire"
        if contact["enrollment"] == "exited":
            yield "exited", "cancel"
        if not contact["in_audience"]:
            yield "not_in_audience", "suppress"
        if self.address() is None:
            yield "no_address", "suppress"
        for cause in CAUSES:
            if self.is_suppressed(cause, now):
                name = {"erasure": "address_erased", "operator": "suppressed_by_operator"}.get(cause, cause)
                yield name, "suppress"
        if self.objects(now):
            yield "objected", "suppress"
        if not self.transactional and self.said and self.said["state"] == "denied":
            yield "opted_out", "suppress"
        if self.needs_grant():
            if self.said is None or self.is_for_another_address():
                yield "no_consent", "suppress"
            elif self.said["state"] != "denied" and self.is_over(now):
                yield "consent_expired", "suppress"
        if contact["template_error"]:
            yield "template_error", "suppress"

    def is_suppressed(self, cause, now):
        """The matrix: what each cause stops."""
        stops = {
            "legal": True,
            "erasure": True,
            "hard_bounce": True,
            "operator": True,
            "complaint": not (self.transactional and self.case["topic"]["essential"]),
            "soft_bounces": not self.transactional,
        }[cause]
        holds = lambda one: one["until"] is None or now < one["until"]
        mine = lambda one: one["address"] == self.address() and one["cause"] == cause
        return stops and any(mine(one) and holds(one) for one in self.case["suppressions"])

    def objects(self, now):
        """Silence is about all but transactional messages, an objection about marketing and surveys. A later grant of the
        customer's own to the topic lifts both, as long as it lasts."""
        said = self.case["said"]
        moments = []
        if not self.transactional:
            moments.append(said["silenced"])
        if self.purpose in ("marketing", "survey"):
            moments.append(said["objected"])
        moments = [moment for moment in moments if moment is not None]
        if not moments:
            return False
        own = self.said and self.said["state"] == "granted" and self.said["method"] in OWN_ACTS and not self.is_over(now)
        return not (own and all(self.said["since"] > moment for moment in moments))

    def needs_grant(self):
        return not self.transactional and self.case["topic"]["opt_in"] != "none"

    def is_for_another_address(self):
        """A grant of marketing and surveys binds to the address that it was given for."""
        binds = self.purpose in ("marketing", "survey") and self.said["state"] == "granted"
        return binds and self.said["address"] != self.address()

    def is_over(self, now):
        return self.said["until"] is not None and now >= self.said["until"]

    # What puts it off

    def deferrals(self, now):
        case, contact, said = self.case, self.case["contact"], self.case["said"]
        before = lambda moment: moment is not None and now < moment
        if self.needs_grant() and self.said and self.said["state"] == "pending" and not self.is_over(now):
            yield "consent_pending"
        if not self.transactional and before(said["snoozed_until"]):
            yield "snoozed"
        # "Marketing does not start from a sender that is not ready."
        if self.purpose in ("marketing", "survey") and before(case["sender_looked_at"]):
            yield "sender_not_ready"
        if contact["enrollment"] and contact["campaign"] == "paused":
            yield "campaign_paused"
        if any(until is None or now < until for until in self.pauses()):
            yield "dispatch_paused"
        if before(case["circuit_open_until"]):
            yield "circuit_open"
        if self.full(now) == {"defer"}:
            yield "frequency_cap"
        if self.is_quiet(now):
            yield "quiet_hours"
        if before(contact["turn"]):
            yield "throttled"
        if before(contact["again"]):
            yield "back_off"

    def ends_by_itself(self):
        """Nobody knows when an operator ends a pause."""
        paused = self.case["contact"]["enrollment"] and self.case["contact"]["campaign"] == "paused"
        return not paused and None not in self.pauses()

    def pauses(self):
        return [pause["until"] for pause in self.case["pauses"] if not pause["purposes"] or self.purpose in pause["purposes"]]

    def caps(self):
        caps = self.case["policy"]["caps"] + self.case["said"]["caps"]
        return [cap for cap in caps if cap["topic"] in (None, "this")]

    def full(self, now):
        """What the caps that have no room do: the window slides, and what is as old as it has left it."""
        if self.transactional:
            return set()
        usual = "defer" if self.case["contact"]["waits_for_room"] else "skip"
        found = set()
        # What comes first has its place kept for a while, and nothing is skipped for what may not go out.
        ahead = [one["topic"] for one in self.case["ahead"] if now < one["until"]]
        for cap in self.caps():
            concerns = lambda topic: cap["topic"] in (None, topic)
            counts = lambda got: concerns(got["topic"]) and now < got["at"] + cap["hours"] * HOUR
            taken = sum(map(counts, self.case["got"]))
            if taken >= cap["most"]:
                found.add(cap["on_hit"] or usual)
            elif ahead and taken + sum(map(concerns, ahead)) >= cap["most"]:
                found.add("yield")
        if "skip" in found:
            return {"skip"}
        return {"defer"} if found else found

    def quiet_hours(self):
        """The customer's own count instead of everybody's."""
        return None if self.transactional else self.case["said"]["quiet_hours"] or self.case["policy"]["quiet_hours"]

    def is_quiet(self, now):
        hours = self.quiet_hours()
        if not hours:
            return False
        local = (self.start + datetime.timedelta(minutes=now)).astimezone(self.zone)
        shown = local.strftime("%H:%M")
        begins_on = lambda day: not hours["days"] or DAYS[day.weekday()] in hours["days"]
        if hours["start"] < hours["end"]:
            return hours["start"] <= shown < hours["end"] and begins_on(local)
        yesterday = local.date() - datetime.timedelta(days=1)
        return shown >= hours["start"] and begins_on(local) or shown < hours["end"] and begins_on(yesterday)

    # The verdict

    def moments(self):
        """Every moment at which something that puts it off can end."""
        case, contact, said = self.case, self.case["contact"], self.case["said"]
        yield from [said["snoozed_until"], case["circuit_open_until"], case["sender_looked_at"], contact["turn"], contact["again"], *self.pauses()]
        yield from (one["until"] for one in said["consents"])
        yield from (one["until"] for one in case["ahead"])
        for cap in self.caps():
            yield from (got["at"] + cap["hours"] * HOUR for got in case["got"])
        if hours := self.quiet_hours():
            hour, minute = map(int, hours["end"].split(":"))
            first = self.start.astimezone(self.zone).date()
            for day in range(-1, 24):
                date = first + datetime.timedelta(days=day)
                local = datetime.datetime(date.year, date.month, date.day, hour, minute, tzinfo=self.zone)
                yield (local - self.start) // datetime.timedelta(minutes=1)

    def verdict(self):
        now, contact = self.case["now"], self.case["contact"]
        end = next(self.ends(now), None)
        if end:
            return "end", *end
        reasons = set(self.deferrals(now))
        if not reasons:
            if "skip" in self.full(now):
                return "end", "frequency_cap", "suppress"
            # "Only who would have been sent the message is held out, at the moment at which it would have been sent; what is
            # transactional is exempt."
            if self.case["held_out"] and not self.transactional:
                return "end", "holdout", "suppress"
            return "send", self.address()
        if not self.ends_by_itself():
            return "defer", reasons, None
        until, expires = self.first_moment(now), contact["expires"]
        if expires is None or until < expires:
            return "defer", reasons, until
        # A consent may be confirmed at any moment: then only what else stands in the way counts.
        if "consent_pending" in reasons and self.first_moment(now, "consent_pending") < expires:
            return "defer", reasons, expires
        return "end", "expired", "expire"

    def first_moment(self, now, but=None):
        moments = sorted({now, *(moment for moment in self.moments() if moment is not None and moment > now)})
        return next(moment for moment in moments if not set(self.deferrals(moment)) - {but})


def agrees(verdict, answer):
    if verdict[0] != answer["verdict"]:
        return False
    if verdict[0] == "send":
        return answer["address"] == verdict[1]
    if verdict[0] == "end":
        return (answer["reason"], answer["effect"]) == verdict[1:]
    # Which of several is named is not said anywhere, only that one is.
    return answer["reason"] in verdict[1] and answer["until"] == verdict[2]


# ---- The comparison


def answers(cases, folder):
    asked, answered = folder / "cases", folder / "answers"
    asked.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    command = ["cargo", "test", "--locked", "--quiet", "--test", "decisions", "--", "--ignored"]
    places = {"RAPPORT_CASES": str(asked), "RAPPORT_ANSWERS": str(answered)}
    subprocess.run(command, env={**os.environ, **places}, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in answered.read_text(encoding="utf-8").splitlines()]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = arguments.parse_args()
    print(f"seed {given.seed}")
    draw = Draw(given.seed)
    cases = [draw.case() for _ in range(given.cases)]
    with tempfile.TemporaryDirectory() as folder:
        found = answers(cases, pathlib.Path(folder))
    if len(found) != len(cases):
        return f"WRONG  {len(cases)} cases got {len(found)} answers"
    wrong, kinds = [], collections.Counter()
    for case, answer in zip(cases, found):
        verdict = Model(case).verdict()
        kinds[answer["verdict"] if answer["verdict"] == "send" else f"{answer['verdict']} {answer['reason']}"] += 1
        if not agrees(verdict, answer):
            wrong.append((case, verdict, answer))
    for case, verdict, answer in wrong[:3]:
        print(f"{json.dumps(case)}\n  model: {verdict}\n  gate:  {answer}")
    for kind, count in sorted(kinds.items()):
        print(f"{count:7}  {kind}")
    if wrong:
        return f"WRONG  the model and the gate disagree about {len(wrong)} of {len(cases)} cases"
    if given.cases >= 10_000 and len(kinds) < 25:
        return f"WRONG  only {len(kinds)} kinds of answers came up"
    print(f"ok     the model and the gate agree on {len(cases)} cases, {len(kinds)} kinds of answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
