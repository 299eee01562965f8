//! What the demo's shop writes, in five languages.

use crate::rpc::proto::{Template, TemplateVariant};

struct Text {
    locale: &'static str,
    subject: &'static str,
    greeting: &'static str,
    paragraphs: [&'static str; 2],
    farewell: &'static str,
}

const CHECK_IN: [Text; 5] = [
    Text {
        locale: "",
        subject: "How do you like order {{ event.subject }}?",
        greeting: "Dear {{ customer.given_name }},",
        paragraphs: [
            "a week ago you bought {{ event.items[0].quantity }} CDs for {{ event.value.amount }} {{ event.value.currency_code }}. Did everything arrive, and does it sound as it should?",
            "If anything is wrong, just answer this message.",
        ],
        farewell: "Your record shop",
    },
    Text {
        locale: "lv",
        subject: "Kā jums patīk pasūtījums {{ event.subject }}?",
        greeting: "Labdien, {{ customer.given_name }}!",
        paragraphs: [
            "Pirms nedēļas jūs nopirkāt {{ event.items[0].quantity }} kompaktdiskus par {{ event.value.amount }} {{ event.value.currency_code }}. Vai viss ir saņemts un skan, kā nākas?",
            "Ja kaut kas nav kārtībā, vienkārši atbildiet uz šo vēstuli.",
        ],
        farewell: "Jūsu mūzikas veikals",
    },
    Text {
        locale: "lt",
        subject: "Ar patiko užsakymas {{ event.subject }}?",
        greeting: "Sveiki, {{ customer.given_name }}!",
        paragraphs: [
            "Prieš savaitę nusipirkote {{ event.items[0].quantity }} kompaktines plokšteles už {{ event.value.amount }} {{ event.value.currency_code }}. Ar viską gavote ir ar viskas skamba taip, kaip turėtų?",
            "Jei kas nors negerai, tiesiog atsakykite į šį laišką.",
        ],
        farewell: "Jūsų muzikos parduotuvė",
    },
    Text {
        locale: "da",
        subject: "Er du glad for ordre {{ event.subject }}?",
        greeting: "Kære {{ customer.given_name }}",
        paragraphs: [
            "For en uge siden købte du {{ event.items[0].quantity }} cd'er for {{ event.value.amount }} {{ event.value.currency_code }}. Er det hele kommet frem, og lyder det, som det skal?",
            "Er der noget galt, så svar bare på denne besked.",
        ],
        farewell: "Din pladebutik",
    },
    Text {
        locale: "ru",
        subject: "Как вам заказ {{ event.subject }}?",
        greeting: "Здравствуйте, {{ customer.given_name }}!",
        paragraphs: [
            "Неделю назад вы купили компакт-диски ({{ event.items[0].quantity }} шт.) за {{ event.value.amount }} {{ event.value.currency_code }}. Всё ли дошло и всё ли звучит как надо?",
            "Если что-то не так, просто ответьте на это письмо.",
        ],
        farewell: "Ваш музыкальный магазин",
    },
];

const WIN_BACK: [Text; 5] = [
    Text {
        locale: "",
        subject: "{{ customer.given_name }}, there is new music",
        greeting: "Dear {{ customer.given_name }},",
        paragraphs: [
            "it has been two months since your last order, and the shelves have filled up since.",
            "Come and listen: the first record of your next order travels free.",
        ],
        farewell: "Your record shop",
    },
    Text {
        locale: "lv",
        subject: "{{ customer.given_name }}, mums ir jauna mūzika",
        greeting: "Labdien, {{ customer.given_name }}!",
        paragraphs: [
            "Kopš jūsu pēdējā pasūtījuma pagājuši divi mēneši, un plauktos ir daudz jauna.",
            "Nāciet paklausīties: nākamā pasūtījuma pirmo disku piegādāsim bez maksas.",
        ],
        farewell: "Jūsu mūzikas veikals",
    },
    Text {
        locale: "lt",
        subject: "{{ customer.given_name }}, turime naujos muzikos",
        greeting: "Sveiki, {{ customer.given_name }}!",
        paragraphs: [
            "Nuo paskutinio jūsų užsakymo praėjo du mėnesiai, o lentynos prisipildė naujienų.",
            "Ateikite paklausyti: pirmąją kito užsakymo plokštelę pristatysime nemokamai.",
        ],
        farewell: "Jūsų muzikos parduotuvė",
    },
    Text {
        locale: "da",
        subject: "{{ customer.given_name }}, der er kommet ny musik",
        greeting: "Kære {{ customer.given_name }}",
        paragraphs: [
            "Det er to måneder siden din sidste ordre, og hylderne er blevet fyldt op siden.",
            "Kom og lyt: den første plade i din næste ordre rejser gratis.",
        ],
        farewell: "Din pladebutik",
    },
    Text {
        locale: "ru",
        subject: "{{ customer.given_name }}, у нас новая музыка",
        greeting: "Здравствуйте, {{ customer.given_name }}!",
        paragraphs: [
            "С вашего последнего заказа прошло два месяца, и на полках много нового.",
            "Приходите послушать: первый диск следующего заказа доставим бесплатно.",
        ],
        farewell: "Ваш музыкальный магазин",
    },
];

/// The shop's two templates.
pub fn templates() -> [Template; 2] {
    [
        template("check-in", "Check-in a week after an order", &CHECK_IN),
        template("win-back", "Two months of silence", &WIN_BACK),
    ]
}

fn template(id: &str, name: &str, texts: &[Text]) -> Template {
    Template {
        template_id: id.to_owned(),
        display_name: name.to_owned(),
        variants: texts.iter().map(variant).collect(),
        sample_data: Some(sample()),
        ..Template::default()
    }
}

fn variant(text: &Text) -> TemplateVariant {
    let [first, second] = text.paragraphs;
    TemplateVariant {
        locale: text.locale.to_owned(),
        subject: text.subject.to_owned(),
        text_body: format!("{}\n\n{first}\n\n{second}\n\n{}\n", text.greeting, text.farewell),
        html_body: format!(
            "<!doctype html>\n<html lang=\"{}\">\n<body style=\"margin:0;background:#f4f1ea\">\n\
             <div style=\"max-width:34em;margin:0 auto;padding:2em;background:#fff;font:16px/1.5 Georgia,serif;color:#222\">\n\
             <p>{}</p>\n<p>{first}</p>\n<p>{second}</p>\n<p style=\"color:#8a4b2a\">{}</p>\n</div>\n</body>\n</html>\n",
            if text.locale.is_empty() { "en" } else { text.locale },
            text.greeting,
            text.farewell
        ),
    }
}

fn sample() -> prost_types::Struct {
    use prost_types::{ListValue, Struct, Value, value::Kind};
    let value = |kind| Value { kind: Some(kind) };
    let object = |key: &str, inner| Struct { fields: [(key.to_owned(), inner)].into() };
    let item = object("quantity", value(Kind::NumberValue(2.0)));
    let items = value(Kind::ListValue(ListValue { values: vec![value(Kind::StructValue(item))] }));
    object("event", value(Kind::StructValue(object("items", items))))
}
