#!/usr/bin/env python3
"""Mail as strangers read it: every letter of a real service is parsed by Python's own parser and its signatures are checked by
two verifiers, dkimpy and mailauth; what was written in any language comes back as it was; what was changed on the way does not
verify; what would break a header is refused. And SpamAssassin, of its own accord, takes nothing that is shipped for spam.

Usage: mail.py PROGRAM DEMO [LETTERS]
  PROGRAM  the built rapport
  DEMO     the folder that `rapport demo` made
  LETTERS  how many letters for each kind of key; 300
"""

import base64
import email
import email.policy
import html
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import unicodedata
from email.header import decode_header, make_header
from email.utils import getaddresses
from pathlib import Path

import dkim
import grpc

from client import LONGEST_CALL, Api, detail
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from serving import service

HERE = Path(__file__).resolve().parent
LONGEST_LINE = 998
# Below so many letters one of each kind of change would prove little.
CHANGED = 20
BODY_END = "\n=-= end =-=\n"
# For each kind of key: the sender, the purpose that it is for, and the domain.
SENDERS = {
    "rsa": ("sender-rsa", "marketing", "rsa.example.com", ["rsa"]),
    "ed25519": ("sender-ed25519", "survey", "ed25519.example.com", ["ed25519"]),
    "both": ("sender-both", None, "both.example.com", ["rsa", "ed25519"]),
}
LANGUAGES = ["en", "lv", "lt", "da", "ru"]
TOPICS = {"rsa": "offers", "ed25519": "questions", "both": "orders"}
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "āčēģīķļņšūžĀČĒąęėįųæøåüößñ",
    "абвгдёжзийклмнопрстуфхцчшщъыьэюя",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "こんにちは世界𠮷野家漢字한국어ไทย",
    "🎉🍣👩‍👩‍👧‍👦🇱🇻🏳️‍🌈👍🏽",
    "e\u0301a\u0327\u0308o\u0302\u0323z\u0335",
]
SPECIAL = ["=?utf-8?q?abc?=", "=?utf-8?B?QQ==?=", "=?", "?=", "From ", ".", "..", "\u200d", "\u00a0", "a@b.example", "x: y"]
# What must not come into a header, alone and with what it would be used for.
BREAKING = [chr(code) for code in [*range(32), *range(127, 160), 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069]]
BREAKING += ["\r\n", "\r\nBcc: x@example.com", "\nBcc: x@example.com", "\r\n\r\nbody"]


def word(chance, most):
    if chance.random() < 0.15:
        return chance.choice(SPECIAL)
    alphabet = chance.choice(ALPHABETS)
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(1, most)))


def line(chance, words, most=12):
    text = " ".join(word(chance, most) for _ in range(chance.randint(1, words)))
    # What is a mark upon nothing, or a blank of whatever width, is trimmed at the ends.
    return text.strip() or "x"


def name(chance):
    """What is kept is in normal form C."""
    return unicodedata.normalize("NFC", line(chance, 4)).strip() or "x"


def text(chance):
    lines = [line(chance, 15) if chance.random() < 0.9 else "" for _ in range(chance.randint(1, 8))]
    if chance.random() < 0.1:
        lines.append(long_word(chance))
    return "\n".join(lines).strip() or "x"


def subject(chance):
    return long_word(chance) if chance.random() < 0.02 else line(chance, 12)


def long_word(chance):
    """Of 5 kB."""
    letter = chance.choice("aāж世")
    return letter * (5_000 // len(letter.encode()))


class Shop:
    """A service with three senders, and what was written to whom."""

    def __init__(self, api, folder):
        self.api, self.outbox = api, folder / "outbox"
        self.written = {}

    def call(self, method, request):
        return method(request, timeout=LONGEST_CALL)

    def set_up(self):
        api = self.api
        for topic_id, purpose, opt_in in [
            ("offers", api.PURPOSE_MARKETING, api.Topic.OPT_IN_SINGLE),
            ("questions", api.PURPOSE_SURVEY, api.Topic.OPT_IN_SINGLE),
            ("orders", api.PURPOSE_SERVICE, api.Topic.OPT_IN_NONE),
        ]:
            names = [api.LocalizedText(text=f"=?x?= \"{topic_id}\", žūžū & 🎉")]
            topic = api.Topic(topic_id=topic_id, names=names, purpose=purpose, opt_in=opt_in)
            self.call(api.PreferenceService.CreateTopic, api.CreateTopicRequest(topic=topic))
        page = '<!doctype html><html><body><p id="words">{{ data.text }}</p><p><a href="{{ unsubscribe_url }}">Leave</a></p></body></html>'
        variant = api.TemplateVariant(
            subject="{{ data.subject }}",
            text_body="{{ data.text }}" + BODY_END + "{{ unsubscribe_url }}",
            html_body=page,
        )
        template = api.Template(template_id="echo", variants=[variant])
        created = self.call(api.TemplateService.CreateTemplate, api.CreateTemplateRequest(template=template))
        assert all(problem.severity == api.TemplateProblem.SEVERITY_WARNING for problem in created.problems), created.problems
        self.call(api.TemplateService.PublishTemplate, api.PublishTemplateRequest(template_id="echo"))

    def customers(self, chance, count):
        api = self.api
        for number in range(count):
            customer = api.Customer(
                external_ids=[f"c-{number}"],
                display_name=name(chance),
                addresses=[api.Address(value=f"customer.{number}@example.com")],
            )
            stored = self.call(api.CustomerService.CreateCustomer, api.CreateCustomerRequest(customer=customer)).customer
            assert stored.display_name == customer.display_name, (stored.display_name, customer.display_name)
            for topic_id in ["offers", "questions"]:
                request = api.SetConsentRequest(
                    customer=api.CustomerRef(external_id=f"c-{number}"),
                    topic_id=topic_id,
                    decision=api.SetConsentRequest.DECISION_GRANT,
                    method=api.CONSENT_METHOD_WEB_FORM,
                )
                self.call(api.PreferenceService.SetConsent, request)
            yield number, customer.display_name

    def write(self, topic_id, number, to_name, subject, text):
        api = self.api
        request = api.ScheduleContactRequest(
            customer=api.CustomerRef(external_id=f"c-{number}"),
            topic_id=topic_id,
            template_id="echo",
            dedupe_key=f"{topic_id}/{len(self.written)}",
        )
        request.data.update({"subject": subject, "text": text})
        contact = self.call(api.ContactService.ScheduleContact, request).contact
        self.written[contact.contact_id] = (topic_id, number, to_name, subject, text)
        return contact.contact_id

    def letters(self):
        """Every letter, when all are there."""
        end = time.monotonic() + 60 + len(self.written)
        while len(found := list(self.outbox.glob("*.eml"))) < len(self.written):
            assert time.monotonic() < end, f"{len(found)} of {len(self.written)} letters after a long time"
            time.sleep(0.2)
        return {path.stem: path for path in found}


def describe_senders(folder):
    """Makes keys by openssl; answers what DNS would hold."""
    described, records = [], {}
    for kind, (sender_id, purpose, domain, keys) in SENDERS.items():
        dkim_keys = []
        for algorithm in keys:
            key = folder / f"{kind}-{algorithm}.pem"
            options = ["-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "rsa" else []
            run("openssl", "genpkey", "-quiet", "-algorithm", algorithm, *options, "-out", key)
            public = run("openssl", "pkey", "-in", key, "-pubout", "-outform", "DER")
            # Of an Ed25519 key what is published are its 32 bytes alone (RFC 8463, 4.2).
            public = public if algorithm == "rsa" else public[-32:]
            records[f"s-{algorithm}._domainkey.{domain}"] = f"v=DKIM1; k={algorithm}; p={base64.b64encode(public).decode()}"
            dkim_keys.append(f'{{ selector = "s-{algorithm}", key_file = "{key}" }}')
        described.append(
            f'[[senders]]\nid = "{sender_id}"\nfrom = "The =?Shop?=, Žūžū <shop@{domain}>"\nreply_to = "Care <care@{domain}>"\n'
            f'postal_address = "The Shop, 1 Brīvības iela, Rīga"\nreturn_path_domain = "bounce.{domain}"\n'
            f"dkim = [{', '.join(dkim_keys)}]\n" + (f'purposes = ["{purpose}"]\n' if purpose else "")
        )
    (folder / "rapport.toml").write_text('public_url = "https://mail.example.com"\n' + "".join(described))
    return records


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


# ---- What Python's parser reads


def read_back(shop, letters):
    for contact_id, (topic_id, number, to_name, subject, text) in shop.written.items():
        octets = letters[contact_id].read_bytes()
        assert max(map(len, octets.split(b"\r\n"))) <= LONGEST_LINE, contact_id
        assert octets.isascii() and not re.search(rb"[^\r]\n|\r[^\n]|\0", octets), contact_id
        letter = email.message_from_bytes(octets, policy=email.policy.default)
        defects = [defect for part in letter.walk() for defect in [*part.defects, *header_defects(part)]]
        assert not defects, (contact_id, defects)
        assert letter["Subject"] == subject, (contact_id, letter["Subject"][:300], subject[:300])
        assert mailbox(octets, "To") == (to_name, f"customer.{number}@example.com"), (contact_id, letter["To"], to_name)
        assert mailbox(octets, "From")[0] == "The =?Shop?=, Žūžū", letter["From"]
        # Lines on the wire end in CRLF, whatever ended them before.
        plain, page = (letter.get_body((kind,)).get_content().replace("\r\n", "\n") for kind in ["plain", "html"])
        assert plain.split(BODY_END)[0] == text, (contact_id, plain[:300], text[:300])
        words = html.unescape(re.search('<p id="words">(.*)</p><p>', page, re.DOTALL).group(1))
        assert words == text, (contact_id, words[:300], text[:300])
        check_headers(letter, topic_id)


def mailbox(octets, header):
    """By Python's older way: its newer one puts a blank between two encoded words of a name until version 3.13."""
    [(name, address)] = getaddresses(email.message_from_bytes(octets).get_all(header))
    return str(make_header(decode_header(name))), address


def header_defects(part):
    return [defect for value in part.values() for defect in getattr(value, "defects", [])]


def check_headers(letter, topic_id):
    counted = [name.lower() for name in letter.keys()]
    once = ["return-path", "date", "from", "to", "reply-to", "subject", "message-id", "list-id", "list-unsubscribe"]
    once += ["list-unsubscribe-post", "feedback-id", "mime-version", "content-type"]
    assert all(counted.count(name) == 1 for name in once), counted
    known = {*once, "dkim-signature", "auto-submitted", "precedence"}
    assert set(counted) <= known, counted
    assert re.fullmatch(r"<https://mail\.example\.com/u/[a-z0-9]{52}>", letter["List-Unsubscribe"]), letter["List-Unsubscribe"]
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    domain = letter["From"].addresses[0].domain
    assert letter["List-Id"].endswith(f" <{topic_id}.{domain}>"), letter["List-Id"]
    assert re.fullmatch(rf"<b\.[a-z0-9]{{52}}@bounce\.{re.escape(domain)}>", letter["Return-Path"]), letter["Return-Path"]
    assert (letter["Precedence"] == "bulk") == (topic_id == "offers"), letter["Precedence"]
    assert (letter["Auto-Submitted"] == "auto-generated") == (topic_id == "orders"), letter["Auto-Submitted"]


# ---- What verifiers say


def verify(shop, letters, records):
    by_kind = {kind: [] for kind in SENDERS}
    for contact_id, (topic_id, *_) in shop.written.items():
        [kind] = [kind for kind, own in TOPICS.items() if own == topic_id]
        by_kind[kind].append(letters[contact_id])
    for kind, paths in by_kind.items():
        signatures = len(SENDERS[kind][3])
        for verifier in [by_dkimpy, by_mailauth]:
            for path, verdicts in zip(paths, verifier(paths, records), strict=True):
                assert verdicts == [True] * signatures, (verifier.__name__, path, verdicts)
        print(f"ok     {len(paths)} letters signed by {kind}: dkimpy and mailauth verify all {signatures * len(paths)} signatures")


def by_dkimpy(paths, records):
    dns = lambda name, **_: records.get(name.decode().rstrip("."), "").encode() or None
    for path in paths:
        message = dkim.DKIM(path.read_bytes())
        count = sum(name.lower() == b"dkim-signature" for name, _ in message.headers)
        yield [verified(message, place, dns) for place in range(count)]


def verified(message, place, dns):
    try:
        return message.verify(idx=place, dnsfunc=dns)
    except dkim.DKIMException:
        return False


def by_mailauth(paths, records):
    question = json.dumps({"keys": records, "letters": [str(path) for path in paths]})
    place = {"NODE_PATH": str(HERE / ".tools/node_modules"), "PATH": os.environ["PATH"]}
    answer = subprocess.run(
        ["node", HERE / "verify_dkim.cjs"], input=question.encode(), check=True, stdout=subprocess.PIPE, env=place
    )
    return [[verdict == "pass" for verdict in verdicts] for verdicts in json.loads(answer.stdout)]


def spoil(shop, letters, records):
    """What somebody changed on the way verifies nowhere."""
    chance = random.Random(2)
    chosen = chance.sample(sorted(shop.written), min(CHANGED, len(shop.written)))
    with tempfile.TemporaryDirectory() as folder:
        spoiled = []
        for contact_id in chosen:
            for number, octets in enumerate(changes(letters[contact_id].read_bytes(), chance)):
                spoiled.append(Path(folder) / f"{contact_id}-{number}.eml")
                spoiled[-1].write_bytes(octets)
        for verifier in [by_dkimpy, by_mailauth]:
            for path, verdicts in zip(spoiled, verifier(spoiled, records), strict=True):
                assert verdicts and not any(verdicts), (verifier.__name__, path.read_bytes(), verdicts)
        print(f"ok     {len(spoiled)} letters that were changed on the way: no signature verifies")


def changes(octets, chance):
    end = octets.index(b"\r\n\r\n") + 4
    visible = [place for place in range(end, len(octets)) if octets[place : place + 1].isalnum()]
    place = chance.choice(visible)
    yield octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
    yield octets[: end - 2] + b"From: The Bank <bank@example.com>\r\n" + octets[end - 2 :]
    yield b"From: The Bank <bank@example.com>\r\n" + octets
    yield b"Subject: Your account\r\n" + octets
    yield octets.replace(b"List-Unsubscribe: <https://mail.", b"List-Unsubscribe: <https://evil.", 1)
    yield b"List-Unsubscribe: <https://evil.example.com/>\r\n" + octets
    yield octets.replace(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b"", 1)
    yield octets.replace(b"Subject: ", b"Subject: x", 1)


# ---- What is refused


def refuse(api):
    """Every field that may come into a header refuses what would break it, by its name."""
    customer = lambda **fields: lambda: api.CustomerService.CreateCustomer(
        api.CreateCustomerRequest(customer=api.Customer(**fields)), timeout=LONGEST_CALL
    )
    topic = lambda names: lambda: api.PreferenceService.CreateTopic(
        api.CreateTopicRequest(topic=api.Topic(topic_id="refused", names=names)), timeout=LONGEST_CALL
    )
    template = lambda **fields: lambda: api.TemplateService.CreateTemplate(
        api.CreateTemplateRequest(template=api.Template(**fields)), timeout=LONGEST_CALL
    )
    event = lambda **fields: lambda: api.EventService.RecordEvent(
        api.RecordEventRequest(event=api.Event(customer=api.CustomerRef(external_id="c-0"), **fields)), timeout=LONGEST_CALL
    )
    words = {"text_body": "x"}
    fields = {
        "customer.displayName": lambda text: customer(display_name=text),
        "customer.givenName": lambda text: customer(given_name=text),
        "customer.familyName": lambda text: customer(family_name=text),
        "customer.externalIds[0]": lambda text: customer(external_ids=[text]),
        "customer.tags[0]": lambda text: customer(tags=[text]),
        "customer.addresses[0].value": lambda text: customer(addresses=[api.Address(value=f"{text}@example.com")]),
        "topic.names[0].text": lambda text: topic([api.LocalizedText(text=text)]),
        "template.displayName": lambda text: template(display_name=text, variants=[api.TemplateVariant(subject="x", **words)]),
        "template.variants[0].subject": lambda text: template(variants=[api.TemplateVariant(subject=text, **words)]),
        "event.source": lambda text: event(source=text, source_event_id="x", event_type="order.placed"),
        "event.sourceEventId": lambda text: event(source="x", source_event_id=text, event_type="order.placed"),
        "event.subject": lambda text: event(source="x", source_event_id="x", event_type="order.placed", subject=text),
    }
    for path, call in fields.items():
        for breaking in BREAKING:
            named = refused_fields(call(f"a{breaking}b"))
            assert path in named, (path, breaking, named)
    print(f"ok     {len(fields)} fields refuse each of {len(BREAKING)} texts that would break a header")


def refused_fields(call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        wrong = detail(rpc_status.from_call(error), error_details_pb2.BadRequest)
        return [violation.field for violation in wrong.field_violations]
    return []


def break_by_data(shop):
    """What a caller gives for a template may have lines; in a subject it ends the message, and nothing goes out."""
    api, known = shop.api, len(list(shop.outbox.glob("*.eml")))
    ids = []
    for breaking in BREAKING:
        # PostgreSQL's texts cannot hold it, so no field takes it.
        if "\0" not in breaking:
            ids.append(shop.write("orders", 0, "", f"a{breaking}b", "x"))
    for contact_id in ids:
        end = time.monotonic() + 30
        request = api.GetContactRequest(contact_id=contact_id)
        while (contact := shop.call(api.ContactService.GetContact, request).contact).state != api.Contact.STATE_SUPPRESSED:
            assert time.monotonic() < end, contact
            time.sleep(0.05)
        assert "subject" in contact.block.detail, contact
    assert len(list(shop.outbox.glob("*.eml"))) == known
    print(f"ok     {len(ids)} subjects that data would break end their messages")


# ---- What SpamAssassin says


def judge_demo(demo):
    """One letter of every template in every language that the demo ships."""
    chosen = {}
    for path in sorted((demo / "outbox").glob("*.eml")):
        # Python's older way to read mail is the quicker one.
        letter = email.message_from_bytes(path.read_bytes())
        language = re.search(b'<html lang="(..)"', letter.get_payload()[1].get_payload(decode=True)).group(1).decode()
        chosen.setdefault((letter["Feedback-ID"].split(":")[0], language), path)
    languages = {language for _, language in chosen}
    assert languages == {"en", "lv", "lt", "da", "ru"} and len(chosen) == 5 * len({name for name, _ in chosen}), chosen
    judge({f"{template} in {language}": path for (template, language), path in chosen.items()})


def confirmations(shop):
    """The mail that asks to confirm a consent, in every language."""
    api, known = shop.api, set(shop.outbox.glob("*.eml"))
    names = [api.LocalizedText(text="Newsletter")]
    shop.call(api.PreferenceService.CreateTopic, api.CreateTopicRequest(topic=api.Topic(topic_id="newsletter", names=names)))
    for language in LANGUAGES:
        who = f"reader-{language}"
        customer = api.Customer(external_ids=[who], locale=language, addresses=[api.Address(value=f"{who}@example.com")])
        shop.call(api.CustomerService.CreateCustomer, api.CreateCustomerRequest(customer=customer))
        wish = api.SetConsentRequest(
            customer=api.CustomerRef(external_id=who),
            topic_id="newsletter",
            decision=api.SetConsentRequest.DECISION_GRANT,
            method=api.CONSENT_METHOD_WEB_FORM,
        )
        assert shop.call(api.PreferenceService.SetConsent, wish).confirmation_planned
    end = time.monotonic() + 30
    while len(new := set(shop.outbox.glob("*.eml")) - known) < len(LANGUAGES):
        assert time.monotonic() < end, new
        time.sleep(0.05)
    letters = {}
    for path in new:
        letter = email.message_from_bytes(path.read_bytes())
        language = re.search(b'<html lang="(..)"', letter.get_payload()[1].get_payload(decode=True)).group(1).decode()
        letters[f"opt-in-confirmation in {language}"] = path
    assert len(letters) == len(LANGUAGES), letters
    return letters


def judge(letters):
    names = {str(path): name for name, path in letters.items()}
    said = run(HERE / "spam.pl", *names).decode().splitlines()
    assert len(said) == len(names), said
    for score, rules, path in (one.split("\t") for one in said):
        print(f"       {float(score):5.1f}  {names[path]}: {rules}")
        assert float(score) <= 0.5, (names[path], rules)
    print(f"ok     SpamAssassin takes {len(said)} templates for what they are")


def main():
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as modules:
        records = describe_senders(Path(folder))
        with service(sys.argv[1], [], folder) as address, grpc.insecure_channel(address) as channel:
            shop = Shop(Api(modules, channel), Path(folder))
            shop.set_up()
            chance = random.Random(count)
            customers = list(shop.customers(chance, min(count, 100)))
            for topic_id in TOPICS.values():
                for place in range(count):
                    shop.write(topic_id, *customers[place % len(customers)], subject(chance), text(chance))
            letters = shop.letters()
            read_back(shop, letters)
            print(f"ok     {len(letters)} letters in every kind of writing read as they were written")
            verify(shop, letters, records)
            spoil(shop, letters, records)
            refuse(shop.api)
            break_by_data(shop)
            judge(confirmations(shop))
    judge_demo(Path(sys.argv[2]))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main()
