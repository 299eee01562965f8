use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Fault, Reason};
use crate::{
    clock::{Clock, Timestamp},
    tokens::{SecretKey, Use},
};

const VERSION: u8 = 1;
const SIGNATURE: usize = 16;
const SELECTION: usize = 8;
const HEAD: usize = 1 + 8 + SELECTION;

/// A page to read: so many rows after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows.
    pub size: u64,
    /// The last key of the page before; none = from the start.
    pub after: Option<String>,
}

/// Rows of a page, and where the next one starts.
#[derive(Debug)]
pub struct PageOf<T> {
    /// In the order of the list.
    pub rows: Vec<T>,
    /// The last key, if there are more rows.
    pub next: Option<String>,
}

impl<T> PageOf<T> {
    /// From a query that asked for one row more than the page holds, so that the end is known without another query.
    pub fn from_rows(mut rows: Vec<T>, page: &Page, key: impl Fn(&T) -> String) -> Self {
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = if more { rows.last().map(key) } else { None };
        Self { rows, next }
    }

    /// The same page of something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> PageOf<U> {
        PageOf { rows: self.rows.into_iter().map(change).collect(), next: self.next }
    }
}

/// Seals and opens page tokens: signed, bound to the selection that they were made for, and good for a day.
#[derive(Debug, Clone)]
pub struct PageTokens {
    key: SecretKey,
    clock: Clock,
}

impl PageTokens {
    /// Tokens that are signed with `key`.
    pub fn new(key: SecretKey, clock: Clock) -> Self {
        Self { key, clock }
    }

    /// The page that a request asks for. `selection` is the request without its page fields.
    pub fn open(&self, method: &str, selection: &impl Message, size: u64, token: &str) -> Result<Page, Fault> {
        let after = if token.is_empty() { None } else { Some(self.unseal(method, selection, token)?) };
        Ok(Page { size, after })
    }

    /// The token of the page after the row with `key`; empty without one.
    pub fn seal(&self, method: &str, selection: &impl Message, key: Option<&str>) -> String {
        let Some(key) = key else { return String::new() };
        let expiry = (self.clock.now() + TimeDelta::days(1)).timestamp();
        let mut token = vec![VERSION];
        token.extend(expiry.to_be_bytes());
        token.extend(digest(method, selection));
        token.extend(key.as_bytes());
        let signature = self.key.sign(Use::PageToken, &token);
        token.extend(&signature[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(token)
    }

    fn unseal(&self, method: &str, selection: &impl Message, token: &str) -> Result<String, Fault> {
        let invalid = || {
            let message = "not a page token of this service, or one older than a day; start again from the first page";
            Fault::refused(Reason::PageTokenInvalid, "pageToken", message)
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let (body, signature) = bytes.split_at_checked(bytes.len().saturating_sub(SIGNATURE)).ok_or_else(invalid)?;
        let (head, key) = body.split_at_checked(HEAD).ok_or_else(invalid)?;
        if head[0] != VERSION || !self.key.verify(Use::PageToken, body, signature) || expiry(head) < self.clock.now() {
            return Err(invalid());
        }
        if head[9..] != digest(method, selection) {
            let message = "the page token belongs to a request with other selections";
            return Err(Fault::refused(Reason::PageTokenMismatch, "pageToken", message));
        }
        String::from_utf8(key.to_vec()).map_err(|_| invalid())
    }
}

fn digest(method: &str, selection: &impl Message) -> [u8; SELECTION] {
    let digest = Sha256::new().chain_update(method).chain_update(selection.encode_to_vec()).finalize();
    let mut short = [0; SELECTION];
    short.copy_from_slice(&digest[..SELECTION]);
    short
}

fn expiry(head: &[u8]) -> Timestamp {
    let mut seconds = [0; 8];
    seconds.copy_from_slice(&head[1..9]);
    Timestamp::from_timestamp(i64::from_be_bytes(seconds), 0).unwrap_or(Timestamp::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::proto::ListCustomersRequest;

    #[test]
    fn a_token_opens_the_next_page_of_the_same_selection_for_a_day() {
        let (clock, hand) = Clock::simulated(Timestamp::UNIX_EPOCH);
        let tokens = PageTokens::new(SecretKey::from_text("key"), clock.clone());
        let all = ListCustomersRequest { show_deleted: true, ..Default::default() };
        let token = tokens.seal("List", &all, Some("cus_1"));
        let open = |selection: &ListCustomersRequest, token: &str| tokens.open("List", selection, 10, token);

        assert_eq!(open(&all, &token).unwrap(), Page { size: 10, after: Some("cus_1".into()) });
        assert_eq!(open(&all, "").unwrap().after, None);
        let living = ListCustomersRequest::default();
        assert_eq!(open(&living, &token).unwrap_err().reason(), Some(Reason::PageTokenMismatch));
        hand.advance_to(Timestamp::UNIX_EPOCH + TimeDelta::hours(25));
        assert_eq!(open(&all, &token).unwrap_err().reason(), Some(Reason::PageTokenInvalid));
    }

    #[test]
    fn a_changed_token_opens_nothing() {
        let tokens = PageTokens::new(SecretKey::from_text("key"), Clock::system());
        let all = ListCustomersRequest::default();
        let token = tokens.seal("List", &all, Some("cus_1"));
        for place in 0..token.len() {
            let mut changed: Vec<char> = token.chars().collect();
            changed[place] = if changed[place] == 'A' { 'B' } else { 'A' };
            let changed: String = changed.into_iter().collect();
            assert!(tokens.open("List", &all, 0, &changed).is_err(), "{changed}");
        }
        for wrong in ["x", "AAAA", "=====", &"A".repeat(1_000)] {
            assert!(tokens.open("List", &all, 0, wrong).is_err(), "{wrong}");
        }
    }
}
