use super::{body::Needs, reply::Reply};

/// What a server offered in its answer to EHLO, as far as we use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub pipelining: bool,
    pub eight_bit_mime: bool,
    pub smtp_utf8: bool,
    pub start_tls: bool,
    pub auth_plain: bool,
    pub auth_login: bool,
    /// SIZE is offered: a letter says how large it is.
    pub size: bool,
    /// How large a letter may be, where the server says.
    pub largest: Option<usize>,
}

impl Offers {
    pub fn read(reply: Reply<'_>) -> Self {
        let mut offers = Self::default();
        for line in reply.texts().skip(1) {
            let line = String::from_utf8_lossy(line).to_uppercase();
            // An old way of writing it: AUTH=LOGIN.
            let mut words = line.split([' ', '=']);
            match words.next().unwrap_or_default() {
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit_mime = true,
                "SMTPUTF8" => offers.smtp_utf8 = true,
                "STARTTLS" => offers.start_tls = true,
                "SIZE" => {
                    offers.size = true;
                    // 0 is no limit (RFC 1870, 4).
                    offers.largest = words.next().and_then(|size| size.parse().ok()).filter(|size| *size > 0);
                }
                "AUTH" => words.for_each(|mechanism| match mechanism {
                    "PLAIN" => offers.auth_plain = true,
                    "LOGIN" => offers.auth_login = true,
                    _ => {}
                }),
                _ => {}
            }
        }
        offers
    }

    /// Why a letter cannot pass here.
    pub fn refusal(self, needs: Needs) -> Option<String> {
        let Needs { octets, eight_bit, utf8 } = needs;
        match self.largest {
            Some(largest) if octets > largest => {
                return Some(format!("the letter has {octets} octets; the server takes {largest}"));
            }
            _ => {}
        }
        if utf8 && !self.smtp_utf8 {
            return Some("the letter needs SMTPUTF8, which the server does not offer".to_owned());
        }
        let unfit = eight_bit && !self.eight_bit_mime;
        unfit.then(|| "the letter needs 8BITMIME, which the server does not offer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_offers_is_read_whatever_its_case() {
        let text = "250-mx.example.com Hello PIPELINING\r\n250-size 1000\r\n250-8BITMIME\r\n250-AUTH LOGIN plain XOAUTH2\r\n\
            250-StartTLS\r\n250 SMTPUTF8\r\n";
        let expected = Offers {
            pipelining: false,
            eight_bit_mime: true,
            smtp_utf8: true,
            start_tls: true,
            auth_plain: true,
            auth_login: true,
            size: true,
            largest: Some(1_000),
        };
        assert_eq!(Offers::read(Reply::new(text.as_bytes())), expected);
        let old = Offers::read(Reply::new(b"250-mx\r\n250-AUTH=LOGIN\r\n250-SIZE 0\r\n250 PIPELINING\r\n"));
        assert_eq!(old, Offers { auth_login: true, size: true, pipelining: true, ..Offers::default() });
    }

    #[test]
    fn a_letter_that_cannot_pass_is_refused_with_the_reason() {
        let offers = Offers { largest: Some(10), ..Offers::default() };
        let refusal = |octets, eight_bit, utf8| offers.refusal(Needs { octets, eight_bit, utf8 }).unwrap_or_default();
        assert_eq!(refusal(10, false, false), "");
        assert_eq!(refusal(11, false, false), "the letter has 11 octets; the server takes 10");
        assert!(refusal(9, true, false).contains("8BITMIME"));
        assert!(refusal(9, true, true).contains("SMTPUTF8"));
    }
}
