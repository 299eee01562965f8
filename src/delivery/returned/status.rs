//! Delivery status notifications (RFC 3464, RFC 6533), in a part of their own or in the middle of a text.

use super::{addresses, parts::fields};

/// What a notification says of one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub original_recipient: String,
    pub final_recipient: String,
    pub action: String,
    pub status: String,
    pub diagnostic: String,
}

/// The groups of a notification, one for each recipient.
pub(super) fn groups(block: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    let mut end = |group: &mut Group| {
        let done = std::mem::take(group);
        if !done.final_recipient.is_empty() || !done.original_recipient.is_empty() {
            groups.push(done);
        }
    };
    for (name, value) in fields(block) {
        match name.as_str() {
            "" => end(&mut group),
            "original-recipient" => {
                if !group.original_recipient.is_empty() {
                    end(&mut group);
                }
                group.original_recipient = recipient(&value);
            }
            "final-recipient" => {
                if !group.final_recipient.is_empty() {
                    end(&mut group);
                }
                group.final_recipient = recipient(&value);
            }
            "action" => group.action = value.to_ascii_lowercase(),
            "status" => group.status = value,
            "diagnostic-code" => group.diagnostic = diagnostic(&value),
            _ => {}
        }
    }
    end(&mut group);
    groups
}

/// "rfc822; anna@example.com", and whatever else is put there.
fn recipient(value: &str) -> String {
    let value = value.split_once(';').map_or(value, |(_, address)| address).trim();
    // A route before the address (RFC 5321, 4.1.1.3).
    let value =
        if value.starts_with('@') { value.rsplit_once(':').map_or(value, |(_, address)| address) } else { value };
    let value = decode(value);
    addresses::first(&value).unwrap_or(value)
}

/// "\x{1F408}" stands for a character (RFC 6533, 3).
fn decode(value: &str) -> String {
    let mut decoded = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("\\x{") {
        decoded.push_str(before);
        let (hex, end) = after.split_once('}').unwrap_or((after, ""));
        decoded.extend(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32));
        rest = end;
    }
    decoded + rest
}

/// Without its type; "smtp" is the usual one.
fn diagnostic(value: &str) -> String {
    match value.split_once(';') {
        Some((kind, said)) if kind.len() <= 30 && !kind.contains(' ') => said.trim().to_owned(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipient_of_a_notification_has_its_own_group() {
        let found = groups(
            "Reporting-MTA: dns; mx.example.com\n\nOriginal-Recipient: rfc822;anna@example.com\nFinal-Recipient: RFC822; \
             <bert@example.org>\nAction: Failed\nStatus: 5.1.1 (bad)\nDiagnostic-Code: smtp; 550 5.1.1\n  unknown\n\n\
             Final-Recipient : utf-8; j\\x{F6}rg@example.com\nAction : delayed\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].original_recipient, "anna@example.com");
        assert_eq!(found[0].final_recipient, "bert@example.org");
        assert_eq!((found[0].action.as_str(), found[0].status.as_str()), ("failed", "5.1.1 (bad)"));
        assert_eq!(found[0].diagnostic, "550 5.1.1 unknown");
        assert_eq!((found[1].final_recipient.as_str(), found[1].action.as_str()), ("jörg@example.com", "delayed"));
        assert_eq!(groups("Final-Recipient: rfc822;@relay.example:a@example.com")[0].final_recipient, "a@example.com");
        assert_eq!(groups("Subject: nothing of that kind"), []);
    }
}
