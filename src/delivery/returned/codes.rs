//! Reply codes and enhanced ones, wherever they stand in what was said.

use super::cause::{Stage, Status};

/// The first reply code and the most telling enhanced code of a text.
pub fn find(text: &str) -> (Option<u16>, Option<Status>) {
    let (mut reply, mut behind_reply, mut first) = (None, None, None);
    let mut was_reply = false;
    for word in text.split_whitespace() {
        let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let (code, rest) = split_reply(word);
        if code.is_some() {
            reply = reply.or(code);
            was_reply = true;
        }
        let rest = rest.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        if rest.is_empty() {
            continue;
        }
        if let Ok(status) = rest.parse::<Status>() {
            // "Mailman 2.0.12" is no success.
            if status.class == 2 && !was_reply {
                continue;
            }
            if was_reply {
                behind_reply = behind_reply.or(Some(status));
            }
            first = first.or(Some(status));
        }
        was_reply = false;
    }
    (reply, behind_reply.or(first))
}

/// What the server said, from its first reply code to the end of the paragraph; all of it where there is no code.
pub(super) fn from_reply(text: &str) -> &str {
    let starts = text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word));
    let is_refusal = |word: &str| {
        let word = word.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        matches!(split_reply(word), (Some(code), _) if code >= 400)
    };
    let Some((start, _)) = starts.into_iter().find(|(_, word)| is_refusal(word)) else { return text };
    let rest = &text[start..];
    rest.split_once("\n\n").map_or(rest, |(paragraph, _)| paragraph)
}

/// "550-5.1.1" is a code and what follows; so is "550".
fn split_reply(word: &str) -> (Option<u16>, &str) {
    let Some((digits, rest)) = word.split_at_checked(3) else { return (None, word) };
    let is_code =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && matches!(digits.as_bytes()[0], b'2' | b'4' | b'5');
    let is_number = rest.strip_prefix('-').is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_digit()) && rest.parse::<Status>().is_err()
    });
    let ends = !is_number && rest.chars().next().is_none_or(|next| matches!(next, '-' | ':' | ',' | '\'' | '"'));
    if is_code && ends { (digits.parse().ok(), rest) } else { (None, word) }
}

/// What a server answered to, by what those who report it write.
pub(super) fn stage(text: &str) -> Stage {
    let text = text.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    // A server that pipelines names DATA although the recipient was refused; then nobody was left to take the message.
    if has(&[
        "no valid recipients",
        "need rcpt",
        "no recipients",
        "rcpt first",
        "must have recipient",
        "rcpt (recipient)",
    ]) {
        return Stage::Recipient;
    }
    if has(&[
        "after mail from",
        "reply to mail from",
        "mail from command",
        ">>> mail",
        "[mail_from]",
        "sender was rejected",
        "refused to talk to me",
        "after ehlo",
        "after helo",
        "reply to ehlo",
        "reply to helo",
        "initial connection",
        "our mail from",
        "while connected from",
        "smtp:mail",
        "rejected mail from",
    ]) {
        return Stage::Sender;
    }
    if has(&[
        "end of data",
        "reply to data",
        "final data",
        "after data",
        "text command",
        "failed after i sent the message",
        "smtp:data",
        "message (data)",
        "smtp transmission failure",
        "data command",
        "[data]",
        "body of message generated",
    ]) {
        return Stage::Data;
    }
    if has(&[
        "rcpt to command",
        "rcpt to generated",
        "<<< rcpt",
        "reply to rcpt",
        "after rcpt",
        "rcpt command",
        ">>> rcpt",
        "[rcpt_to]",
        "our rcpt to",
        "does not like recipient",
        "smtp:rcpt",
        "server has rejected address",
        "rejected the recipient",
        "recipient address rejected",
    ]) {
        return Stage::Recipient;
    }
    if has(&["554 5.0.0 service unavailable"]) { Stage::Data } else { Stage::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_servers_put_them() {
        for (text, reply, status) in [
            ("550 5.1.1 <a@b.example>... User unknown", Some(550), "5.1.1"),
            ("550-5.1.1 The account\n550 5.1.1 does not exist", Some(550), "5.1.1"),
            ("550: 5.1.1 unknown", Some(550), "5.1.1"),
            ("5.1.0 - Unknown address error 550-'5.7.1 <a>... Access denied'", Some(550), "5.7.1"),
            ("5.3.0 - Other mail system problem 550-'Unknown user'", Some(550), "5.3.0"),
            ("550 #5.1.0 Address rejected.", Some(550), "5.1.0"),
            ("call 480-624-2500", None, ""),
            ("Sorry, no mailbox here by that name. (#5.1.1)", None, "5.1.1"),
            ("host mx[192.0.2.1] said: 421 4.7.0 busy", Some(421), "4.7.0"),
            ("waited 432000 seconds on 192.0.2.1, 10.5.1.1, 5.1, ofr_506", None, ""),
            ("", None, ""),
        ] {
            assert_eq!(find(text), (reply, status.parse().ok()), "{text}");
        }
    }

    #[test]
    fn the_moment_of_a_refusal_is_read_from_who_reports_it() {
        for (text, expected) in [
            ("said: 550 unknown (in reply to RCPT TO command)", Stage::Recipient),
            ("said: 550 unknown (in reply to end of DATA command)", Stage::Data),
            ("SMTP error from remote mail server after MAIL FROM:<a@b.example>", Stage::Sender),
            (">>> DATA\n<<< 550 unknown\n<<< 503 5.0.0 Need RCPT (recipient)", Stage::Recipient),
            (">>> DATA\n<<< 550 unknown\n554 5.0.0 Service unavailable", Stage::Data),
            ("550 unknown", Stage::Unknown),
        ] {
            assert_eq!(stage(text), expected, "{text}");
        }
    }
}
