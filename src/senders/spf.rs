//! Which servers may send with a domain as return path (RFC 7208), as far as that shows from the record.

use super::dns::{Dns, NoAnswer};

/// Receivers ask no more questions than these (RFC 7208, 4.6.4).
const MOST_QUESTIONS: usize = 10;

/// What is wrong with the record of a domain; none = nothing.
pub(super) async fn trouble(dns: &Dns, domain: &str) -> Result<Option<String>, NoAnswer> {
    let record = match record(dns, domain).await? {
        Ok(record) => record,
        Err(trouble) => return Ok(Some(trouble)),
    };
    let terms = Terms::of(&record);
    if terms.lets_everybody {
        return Ok(Some(format!("{record:?} lets everybody send")));
    }
    if !terms.ends {
        return Ok(Some(format!("{record:?} does not end: add ~all or -all")));
    }
    questions_trouble(dns, domain, terms).await
}

/// Counts what receivers have to ask, in what is included too.
async fn questions_trouble(dns: &Dns, domain: &str, terms: Terms) -> Result<Option<String>, NoAnswer> {
    let (mut questions, mut open) = (terms.questions, terms.includes);
    while let Some(included) = open.pop() {
        if questions > MOST_QUESTIONS {
            break;
        }
        match record(dns, &included).await? {
            Ok(record) => {
                let terms = Terms::of(&record);
                questions += terms.questions;
                open.extend(terms.includes);
            }
            Err(trouble) => return Ok(Some(format!("{domain} includes {included}, but {trouble}"))),
        }
    }
    let many = || format!("the record of {domain} makes receivers ask more than {MOST_QUESTIONS} questions");
    Ok((questions > MOST_QUESTIONS).then(many))
}

async fn record(dns: &Dns, domain: &str) -> Result<Result<String, String>, NoAnswer> {
    let mut records: Vec<String> = dns.texts(domain).await?.into_iter().filter(|text| is_record(text)).collect();
    Ok(match (records.pop(), records.len()) {
        (Some(record), 0) => Ok(record),
        (None, _) => Err(format!("there is no SPF record at {domain}")),
        (Some(_), more) => Err(format!("there are {} SPF records at {domain}", more + 1)),
    })
}

fn is_record(text: &str) -> bool {
    text.split_ascii_whitespace().next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"))
}

/// What a record says, in sum.
#[derive(Debug, Default, PartialEq, Eq)]
struct Terms {
    /// How many of its terms ask something.
    questions: usize,
    /// Whose records it refers to.
    includes: Vec<String>,
    /// Whether something is said about all others.
    ends: bool,
    /// Whether that is that they may.
    lets_everybody: bool,
}

impl Terms {
    fn of(record: &str) -> Self {
        let mut terms = Self::default();
        for term in record.split_ascii_whitespace().skip(1) {
            let term = term.to_ascii_lowercase();
            let bare = term.trim_start_matches(['+', '-', '~', '?']);
            let name = bare.split([':', '=', '/']).next().unwrap_or_default();
            match name {
                "all" => {
                    terms.ends = true;
                    terms.lets_everybody = !term.starts_with(['-', '~', '?']);
                    // What follows is not read.
                    break;
                }
                "include" | "redirect" => {
                    terms.questions += 1;
                    terms.ends |= name == "redirect";
                    let target = bare.split_once([':', '=']).map_or("", |(_, target)| target);
                    // One with a macro differs from letter to letter.
                    if !target.is_empty() && !target.contains('%') {
                        terms.includes.push(target.to_owned());
                    }
                }
                "a" | "mx" | "ptr" | "exists" => terms.questions += 1,
                _ => {}
            }
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_whom_it_lets_send_and_what_it_costs_to_ask() {
        let terms =
            Terms::of("v=spf1 a:x.example mx/24 ip4:192.0.2.0/24 include:_spf.example.com exists:%{i}.x ~all mx");
        let includes = vec!["_spf.example.com".to_owned()];
        assert_eq!(terms, Terms { questions: 4, includes, ends: true, lets_everybody: false });
        assert!(Terms::of("v=spf1 +all").lets_everybody && Terms::of("v=spf1 all").lets_everybody);
        assert!(!Terms::of("v=spf1 mx").ends);
        let redirect = Terms::of("v=spf1 redirect=_spf.example.com");
        assert_eq!((redirect.questions, redirect.ends, redirect.includes.len()), (1, true, 1));
        assert!(is_record("V=SPF1 -all") && !is_record("v=spf10 -all") && !is_record(""));
    }
}
