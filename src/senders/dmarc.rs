//! What a domain says about mail that claims to be from it (RFC 9989): which record holds, and which domains belong together.

use super::dns::{Dns, NoAnswer};

/// A policy record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// At which domain it was found.
    pub domain: String,
    /// As it is published.
    pub text: String,
    tags: Vec<(String, String)>,
}

/// What the walk up the tree of names found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    /// All domains with this one belong together.
    pub organization: String,
    /// The record that holds for the domain; none = there is none.
    pub record: Option<Record>,
}

/// Longer names are shortened to so many labels after the first question (RFC 9989, 4.10).
const LONGEST: usize = 7;

impl Record {
    /// Whether a text is a record at all: its version comes first.
    fn parse(domain: &str, text: &str) -> Option<Self> {
        let mut tags = text.split(';').map(|tag| tag.split_once('=').unwrap_or((tag, "")));
        let (name, version) = tags.next()?;
        if name.trim() != "v" || version.trim() != "DMARC1" {
            return None;
        }
        let own = |(name, value): (&str, &str)| (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        let tags = tags.map(own).filter(|(name, _)| !name.is_empty()).collect();
        Some(Self { domain: domain.to_owned(), text: text.to_owned(), tags })
    }

    fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What is wrong with it; none = nothing.
    pub fn trouble(&self) -> Option<String> {
        for name in ["p", "sp", "np"] {
            if let Some(wrong) = self.tag(name).filter(|policy| !is_policy(policy)) {
                return Some(format!("{name}={wrong} is none of none, quarantine and reject"));
            }
        }
        // A record without a policy counts as p=none only if it asks for reports.
        if self.tag("p").is_none() && self.tag("rua").is_none() {
            return Some("it has no p".to_owned());
        }
        let flag = |name, allowed: [&str; 2]| {
            let value = self.tag(name).filter(|value| !allowed.iter().any(|one| one.eq_ignore_ascii_case(value)))?;
            Some(format!("{name}={value} is neither {} nor {}", allowed[0], allowed[1]))
        };
        flag("adkim", ["r", "s"]).or_else(|| flag("aspf", ["r", "s"])).or_else(|| flag("t", ["y", "n"]))
    }

    /// Tags that receivers do not read any more.
    pub fn outdated(&self) -> Vec<&'static str> {
        ["pct", "rf", "ri"].into_iter().filter(|name| self.tag(name).is_some()).collect()
    }

    /// Whether bounces must come back to the very domain that readers see.
    pub fn wants_same_return_path(&self) -> bool {
        self.tag("aspf").is_some_and(|mode| mode.eq_ignore_ascii_case("s"))
    }
}

fn is_policy(text: &str) -> bool {
    ["none", "quarantine", "reject"].iter().any(|policy| policy.eq_ignore_ascii_case(text))
}

/// Walks up from a domain (RFC 9989, 4.10).
pub(super) async fn walk(dns: &Dns, domain: &str) -> Result<Walk, NoAnswer> {
    let mut found: Vec<Record> = Vec::new();
    for name in names(domain) {
        let texts = match dns.texts(&format!("_dmarc.{name}")).await {
            // The domain has its own record: whoever is above it changes nothing of that.
            Err(_) if found.iter().any(|record| record.domain == domain) => break,
            texts => texts?,
        };
        let mut records = texts.iter().filter_map(|text| Record::parse(name, text));
        // Where there are several, none counts.
        let (Some(record), None) = (records.next(), records.next()) else { continue };
        let ends = record.tag("psd").is_some_and(|psd| psd == "n" || psd == "y" && name != domain);
        found.push(record);
        if ends {
            break;
        }
    }
    let organization = organization(domain, &found);
    let own = found.iter().position(|record| record.domain == domain);
    let place = own.or_else(|| found.iter().position(|record| record.domain == organization)).or_else(|| {
        // The public suffix itself may speak for those below it.
        found.iter().position(|record| record.tag("psd") == Some("y"))
    });
    Ok(Walk { organization, record: place.map(|place| found.swap_remove(place)) })
}

/// The domain, then those above it; of a long one the last few only.
fn names(domain: &str) -> Vec<&str> {
    let starts: Vec<usize> = std::iter::once(0).chain(domain.match_indices('.').map(|(at, _)| at + 1)).collect();
    let skipped = if starts.len() > LONGEST { starts.len() - LONGEST } else { 1 };
    std::iter::once(domain).chain(starts.iter().skip(skipped).map(|start| &domain[*start..])).collect()
}

/// The domain that all of an organisation belong to (RFC 9989, 4.10.2); the records stand from the bottom up.
fn organization(domain: &str, found: &[Record]) -> String {
    if let Some(record) = found.iter().find(|record| record.tag("psd") == Some("n")) {
        return record.domain.clone();
    }
    let suffix = found.iter().find(|record| record.tag("psd") == Some("y") && record.domain != domain);
    if let Some(suffix) = suffix {
        let below = domain.strip_suffix(suffix.domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        let label = below.and_then(|rest| rest.rsplit('.').next()).unwrap_or_default();
        return format!("{label}.{}", suffix.domain);
    }
    found.last().map_or_else(|| domain.to_owned(), |record| record.domain.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(domain: &str, text: &str) -> Record {
        Record::parse(domain, text).unwrap()
    }

    #[test]
    fn the_walk_asks_at_the_domain_and_at_those_above_it() {
        assert_eq!(names("example.com"), ["example.com", "com"]);
        assert_eq!(names("a.mail.example.com"), ["a.mail.example.com", "mail.example.com", "example.com", "com"]);
        let long = "a.b.c.d.e.f.g.h.i.j.mail.example.com";
        let asked = names(long);
        assert_eq!((asked.len(), asked[0], asked[1]), (8, long, "g.h.i.j.mail.example.com"));
        assert_eq!(names("a.b.c.d.e.mail.example.com")[1], "b.c.d.e.mail.example.com");
    }

    #[test]
    fn the_organisation_is_where_the_last_record_is_unless_one_says_otherwise() {
        let (low, high) = (record("mail.example.com", "v=DMARC1; p=none"), record("example.com", "v=DMARC1;p=none"));
        assert_eq!(organization("mail.example.com", &[low.clone(), high.clone()]), "example.com");
        assert_eq!(organization("mail.example.com", &[]), "mail.example.com");
        let own = record("mail.example.com", "v=DMARC1; p=none; psd=n");
        assert_eq!(organization("a.mail.example.com", &[own]), "mail.example.com");
        let suffix = record("co.example", "v=DMARC1; p=reject; psd=y");
        assert_eq!(organization("a.mail.shop.co.example", &[suffix]), "shop.co.example");
    }

    #[test]
    fn a_record_is_told_from_other_texts_and_its_mistakes_are_named() {
        for text in ["", "v=spf1 -all", "p=none; v=DMARC1", "v=dmarc1; p=none", "V=DMARC1"] {
            assert_eq!(Record::parse("example.com", text), None, "{text}");
        }
        for (text, trouble) in [
            ("v=DMARC1; p=none; rua=mailto:d@example.com", None),
            ("v=DMARC1 ;P = Reject; sp=quarantine; np=reject; adkim=s; t=y;", None),
            ("v=DMARC1; rua=mailto:d@example.com", None),
            ("v=DMARC1", Some("no p")),
            ("v=DMARC1; p=block", Some("p=block")),
            ("v=DMARC1; p=none; np=x", Some("np=x")),
            ("v=DMARC1; p=none; adkim=x", Some("adkim=x")),
        ] {
            let found = record("example.com", text).trouble();
            assert_eq!(found.is_some(), trouble.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(trouble.unwrap_or_default()), "{text}");
        }
        assert_eq!(record("example.com", "v=DMARC1; p=none; pct=50; ri=60").outdated(), ["pct", "ri"]);
    }
}
