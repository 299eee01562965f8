use std::str::FromStr;

use super::WrongSetting;

/// Who gets messages that are tried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestRecipients(Vec<String>);

impl FromStr for TestRecipients {
    type Err = WrongSetting;

    /// From a list with commas: addresses, and `@` with a domain for everybody there.
    fn from_str(text: &str) -> Result<Self, WrongSetting> {
        let all = text.split(',').map(|one| one.trim().to_lowercase());
        let all: Vec<String> = all.filter(|one| !one.is_empty()).collect();
        let is_one = |one: &String| {
            let domain = one.rsplit_once('@').map_or("", |(_, domain)| domain);
            domain.contains('.') && !one.contains(char::is_whitespace)
        };
        match all.iter().find(|one| !is_one(one)) {
            None => Ok(Self(all)),
            Some(wrong) => {
                let allowed = "addresses and @domains with commas between, such as anna@example.com, @example.org";
                Err(WrongSetting::new("test_recipients", format!("{wrong:?}"), allowed))
            }
        }
    }
}

impl TestRecipients {
    /// Whether this address is one of them.
    pub fn allow(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let domain = address.rfind('@').map_or("", |at| &address[at..]);
        self.0.iter().any(|one| *one == address || one == domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_tried_out_on_addresses_and_domains_that_were_named() {
        let some = "Anna@Example.com, @test.example.org".parse::<TestRecipients>().unwrap();
        for (address, allowed) in [
            ("anna@example.com", true),
            ("ANNA@example.COM", true),
            ("bo@example.com", false),
            ("bo@test.example.org", true),
            ("bo@example.org", false),
            ("bo@evil-test.example.org", false),
        ] {
            assert_eq!(some.allow(address), allowed, "{address}");
        }
        assert!(!TestRecipients::default().allow("anna@example.com"));
        for wrong in ["anna", "@", "anna@", "a b@example.com", "@localhost, x@example.com"] {
            assert!(wrong.parse::<TestRecipients>().is_err(), "{wrong}");
        }
    }
}
