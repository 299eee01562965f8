//! What kind of message came back: a report, feedback, or a reply of a program or a person.

use super::{
    parts::{Opened, Part},
    prose::Prose,
    status,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Feedback,
    Report,
    AutoReply,
    Reply,
    Unknown,
}

pub(super) fn kind(opened: &Opened) -> Kind {
    if opened.parts.iter().any(|part| matches!(part, Part::Feedback(_))) || is_complaint_by_words(opened) {
        return Kind::Feedback;
    }
    if has_status(opened) || !opened.value("x-failed-recipients").is_empty() {
        return Kind::Report;
    }
    let is_answer = is_answer(opened);
    if !is_answer && has_embedded_status(opened) {
        return Kind::Report;
    }
    // Customers write of parcels, too, that could not be delivered.
    let returns = has_null_path(opened) || opened.returned().next().is_some();
    if is_daemon(opened) || !is_answer && returns && has_subject(opened, REPORT_SUBJECTS) {
        return if is_vacation(opened) { Kind::AutoReply } else { Kind::Report };
    }
    if !is_answer && returns_a_message(opened) {
        return Kind::Report;
    }
    if is_vacation(opened) || is_automatic(opened) {
        return Kind::AutoReply;
    }
    let answers = !opened.value("in-reply-to").is_empty() || !opened.value("references").is_empty();
    if answers || is_marked_as_answer(opened) {
        return Kind::Reply;
    }
    // Written to the return path, or by hand: a person, as far as the header tells.
    if opened.value("from").contains('@') { Kind::Reply } else { Kind::Unknown }
}

/// Whether a report is made for programs, or by one: what somebody else writes may be a report, and proves nothing.
pub(super) fn is_certain(opened: &Opened) -> bool {
    has_status(opened) || is_daemon(opened)
}

fn has_status(opened: &Opened) -> bool {
    opened.parts.iter().any(|part| matches!(part, Part::Status(_)))
}

fn has_null_path(opened: &Opened) -> bool {
    opened.values("return-path").any(|path| path.trim() == "<>")
}

/// Whether somebody answers: neither a daemon, nor a program that says so.
fn is_answer(opened: &Opened) -> bool {
    let by_program = !opened.value("auto-submitted").is_empty() || is_daemon(opened);
    is_marked_as_answer(opened) || !by_program && !opened.value("in-reply-to").is_empty()
}

fn is_marked_as_answer(opened: &Opened) -> bool {
    const MARKS: &[&str] =
        &["re:", "aw:", "sv:", "antw:", "atb:", "ats:", "res:", "rif:", "vs:", "odp:", "ответ:", "re :", "re["];
    let subject = opened.value("subject").trim().to_lowercase();
    MARKS.iter().any(|mark| subject.starts_with(mark))
}

/// Whether a report only warns: the message is still under way.
pub(super) fn tells_of_delay(opened: &Opened, prose: &[Prose]) -> bool {
    const SUBJECTS: &[&str] =
        &["(delay)", "delayed", "warning:", "warning--", "warning -", ": warning", "notification: warning"];
    const WORDS: &[&str] = &[
        "this is a warning message only",
        "warning message only",
        "has been delayed",
        "is delayed for",
        "only a temporary failure report",
        "still being retried",
        "will keep trying",
        "will continue to try",
        "will be retried for",
        "do not need to re-send",
        "do not need to resend",
        "has not yet been delivered",
    ];
    let says = |one: &Prose| {
        let report = one.report.to_lowercase();
        WORDS.iter().any(|words| report.contains(words))
    };
    has_subject(opened, SUBJECTS) || prose.iter().any(says)
}

fn has_subject(opened: &Opened, subjects: &[&str]) -> bool {
    let subject = opened.value("subject").to_lowercase();
    subjects.iter().any(|one| subject.contains(one))
}

const REPORT_SUBJECTS: &[&str] = &[
    "undeliverable",
    "undelivered",
    "unzustellbar",
    "non remis",
    "returned mail",
    "returned email",
    "delivery status notification",
    "delivery failure",
    "delivery failed",
    "delivery has failed",
    "delivery problem",
    "delivery report",
    "mail delivery",
    "failure notice",
    "failure delivery",
    "failed delivery",
    "mail system error",
    "mail failure",
    "mail could not be delivered",
    "message could not be delivered",
    "could not send mail",
    "error sending your mail",
    "nondeliverable",
    "non-deliverable",
    "notification d'échec",
    "returning message to sender",
    "returned to sender",
    "mail failed",
    "bounce notice",
];

/// Whether it comes from a mail system and not from a mailbox of somebody's.
fn is_daemon(opened: &Opened) -> bool {
    let from = opened.value("from").to_lowercase();
    let names = [
        "mailer-daemon",
        "mailerdaemon",
        "mail-daemon",
        "postmaster",
        "post_master",
        "mail delivery s",
        "mail deliver system",
        "mail.delivery.system",
    ];
    names.iter().any(|name| from.contains(name))
}

/// Whether it attaches a message and says that this could not be delivered.
fn returns_a_message(opened: &Opened) -> bool {
    const SAYS: &[&str] = &[
        "not be delivered",
        "not delivered",
        "unable to deliver",
        "undeliverable",
        "delivery failed",
        "delivery failure",
        "failed to deliver",
        "wasn't able to deliver",
    ];
    let says = |text: &str| {
        let text = text.to_lowercase();
        SAYS.iter().any(|words| text.contains(words))
    };
    opened.returned().next().is_some() && opened.texts().any(says)
}

/// Some put the notification into the text, without a part of its own.
fn has_embedded_status(opened: &Opened) -> bool {
    opened.texts().any(|text| {
        let found = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
        (found("inal-Recipient") || found("inal-recipient")) && !status::groups(text).is_empty()
    })
}

/// Outlook.com reports complaints without a part that says so.
fn is_complaint_by_words(opened: &Opened) -> bool {
    opened.value("subject").trim().to_lowercase().starts_with("complaint about message from")
        && opened.returned().next().is_some()
}

/// RFC 3834, and what was used before it and beside it.
fn is_automatic(opened: &Opened) -> bool {
    let submitted = opened.value("auto-submitted").to_lowercase();
    let answered = !submitted.is_empty() && submitted.split([';', ' ']).next() != Some("no");
    let precedence = opened.value("precedence").to_lowercase();
    let marked = [
        "x-autoreply",
        "x-autorespond",
        "x-autoreply-from",
        "x-mail-autoreply",
        "x-autogenerated",
        "x-auto-response-suppress",
    ];
    let from = opened.value("from").to_lowercase();
    let robots = [
        "noreply",
        "no-reply",
        "no_reply",
        "donotreply",
        "do-not-reply",
        "listserv",
        "majordomo",
        "-request@",
        "-admin@",
    ];
    answered
        || has_null_path(opened)
        || robots.iter().any(|robot| from.contains(robot))
        || matches!(precedence.as_str(), "bulk" | "auto_reply" | "auto-reply" | "junk" | "list")
        || marked.iter().any(|name| opened.values(name).next().is_some())
}

/// Whether its subject says that somebody is away.
fn is_vacation(opened: &Opened) -> bool {
    const SUBJECTS: &[&str] = &[
        "out of office",
        "out of the office",
        "out-of-office",
        "automatic reply",
        "automatic response",
        "auto reply",
        "auto-reply",
        "autoreply",
        "auto response",
        "auto-response",
        "autoresponse",
        "automated reply",
        "automated response",
        "vacation",
        "away from",
        "i am away",
        "on leave",
        "holiday",
        "abwesenheit",
        "abwesend",
        "automatische antwort",
        "réponse automatique",
        "absence du bureau",
        "respuesta automática",
        "fuera de la oficina",
        "risposta automatica",
        "fuori ufficio",
        "resposta automática",
        "automatisk svar",
        "autosvar",
        "fraværende",
        "frånvaro",
        "automātiska atbilde",
        "ārpus biroja",
        "automatinis atsakymas",
        "atostog",
        "автоответ",
        "автоматический ответ",
        "отпуск",
        "automatyczna odpowiedź",
        "automatisch antwoord",
        "afwezig",
        "自動返信",
        "自动回复",
    ];
    has_subject(opened, SUBJECTS)
}
