#!/usr/bin/env python3
"""Holds the times of newsletters against an independent library.

    .ci/cron.py [--expressions N] [--seed N]

Draws five-field expressions, has the service's own code say when each comes in twelve zones over three years (tests/cron.rs), and
works it out with croniter and zoneinfo, which share no code with it. Days on which clocks change, and those beside them, are left
out: what happens then is a choice, written down as a table in src/calendar/cron.rs.
"""

import argparse
import datetime
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zoneinfo

import croniter

ZONES = [
    "UTC", "Europe/Riga", "Europe/London", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "Asia/Kolkata",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Pacific/Kiritimati",
]
START, END = datetime.datetime(2026, 1, 1), datetime.datetime(2029, 1, 1)
DAY = datetime.timedelta(days=1)
NAMES = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def some(dice, low, high, most):
    """A list, a range, or a range with steps."""
    kind = dice.random()
    if kind < 0.5:
        values = sorted(dice.sample(range(low, high + 1), dice.randint(1, most)))
        return ",".join(map(str, values))
    first = dice.randint(low, high - 1)
    last = dice.randint(first + 1, high)
    return f"{first}-{last}" if kind < 0.8 else f"{first}-{last}/{dice.randint(2, 5)}"


def draw(dice):
    minute = str(dice.randint(0, 59))
    hour = dice.choice([str(dice.randint(0, 23)), str(dice.randint(0, 23)), some(dice, 0, 23, 3), f"*/{dice.choice([6, 8, 12])}"])
    kind = dice.random()
    day, weekday = "*", "*"
    if kind < 0.3:
        weekday = dice.choice([str(dice.randint(0, 7)), dice.choice(NAMES), some(dice, 0, 6, 3), "MON-FRI"])
    elif kind < 0.6:
        day = dice.choice([str(dice.randint(1, 31)), some(dice, 1, 31, 4), "L"])
    elif kind < 0.7:
        # A day of the month or a day of the week: crontabs mean either.
        day, weekday = str(dice.randint(1, 28)), str(dice.randint(0, 6))
    month = dice.choice(["*", "*", "*", str(dice.randint(1, 12)), dice.choice(MONTHS), some(dice, 1, 12, 4), "*/3"])
    return " ".join([minute, hour, day, month, weekday])


def expressions(dice, count):
    drawn = []
    while len(drawn) < count:
        expression = draw(dice)
        try:
            croniter.croniter(expression, START).get_next(datetime.datetime)
        except croniter.CroniterBadDateError:
            continue  # 30 February
        if expression not in drawn:
            drawn.append(expression)
    return drawn


def changes(zone):
    """The days on which its clocks change, and those beside them."""
    days, day = set(), START - 2 * DAY
    offset = day.replace(tzinfo=zone).utcoffset()
    while day < END + 2 * DAY:
        day += DAY
        now = day.replace(tzinfo=zone).utcoffset()
        if now != offset:
            days.update((day + beside * DAY).date() for beside in (-2, -1, 0, 1))
        offset = now
    return days


def expected(expression):
    """Its wall-clock times."""
    times, each = [], croniter.croniter(expression, START - datetime.timedelta(minutes=1))
    while (time := each.get_next(datetime.datetime)) < END:
        times.append(time)
    return times


def answers(cases):
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = pathlib.Path(folder, "cases"), pathlib.Path(folder, "answers")
        asked.write_text("".join(json.dumps(case) + "\n" for case in cases))
        subprocess.run(
            ["cargo", "test", "--locked", "--quiet", "--test", "cron", "--", "--ignored", "--exact", "the_calendar_answers_each_case"],
            env={**os.environ, "RAPPORT_CASES": str(asked), "RAPPORT_ANSWERS": str(answered)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with answered.open() as lines:
            for line in lines:
                yield [int(minute) for minute in line.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expressions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    dice = random.Random(args.seed)
    drawn = expressions(dice, args.expressions)
    zones = {name: zoneinfo.ZoneInfo(name) for name in ZONES}
    left_out = {name: changes(zone) for name, zone in zones.items()}
    cases = [{"cron": cron, "zone": zone, "from": str(START), "until": str(END)} for cron in drawn for zone in ZONES]
    epoch = datetime.datetime(1970, 1, 1)
    compared = wrong = 0
    known = {cron: expected(cron) for cron in drawn}
    for case, answer in zip(cases, answers(cases), strict=True):
        zone, days = zones[case["zone"]], left_out[case["zone"]]
        local = {
            time: time.replace(tzinfo=zone).astimezone(datetime.timezone.utc).replace(tzinfo=None) for time in known[case["cron"]]
        }
        here = {int((instant - epoch).total_seconds()) // 60 for time, instant in local.items() if time.date() not in days}
        shown = lambda minute: (epoch + datetime.timedelta(minutes=minute)).replace(tzinfo=datetime.timezone.utc).astimezone(zone)
        there = {minute for minute in answer if shown(minute).date() not in days}
        compared += len(here)
        if here != there:
            wrong += 1
            missing, strange = sorted(here - there)[:3], sorted(there - here)[:3]
            print(f"{case['cron']} in {case['zone']}: missing {[str(shown(m)) for m in missing]}, strange {[str(shown(m)) for m in strange]}")
    print(f"{len(drawn)} expressions in {len(ZONES)} zones over three years, seed {args.seed}: {compared} times compared, {wrong} cases differ")
    if wrong or compared < 100 * len(drawn):
        sys.exit(1)


if __name__ == "__main__":
    main()
