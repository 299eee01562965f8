//! Signatures by which receivers know that a letter is ours and was not changed (RFC 6376, RFC 8463).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_auth::{
    common::{
        crypto::{Algorithm, DkimKey, Ed25519Key, HashAlgorithm, RsaKey, Sha256, SigningKey},
        headers::{Writable, Writer},
    },
    dkim::{Canonicalization, Signature},
};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use super::UnfitLetter;
use crate::clock::Timestamp;

/// What is signed where it is there, and must not be added where it is not.
const SIGNED: [&str; 16] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Auto-Submitted",
];
/// Named once more than they are there: a second one, which mail programs might show instead, breaks the signature.
const OVERSIGNED: [&str; 5] = ["From", "To", "Subject", "Date", "List-Unsubscribe"];

/// A private key, and the name below which receivers find its public half.
pub struct SigningPair {
    selector: String,
    key: DkimKey,
    public: Vec<u8>,
}

/// Why a file holds no key that signs mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitKey {
    /// There is no PEM block "PRIVATE KEY" or "RSA PRIVATE KEY".
    #[error("holds no private key as PEM")]
    NoPem,
    /// Receivers take no such signatures any more (RFC 8301).
    #[error("holds an RSA key of fewer than 2048 bits")]
    TooSmall,
    /// Receivers need not take such signatures (RFC 8301).
    #[error("holds an RSA key of more than 4096 bits")]
    TooLarge,
    /// Neither RSA nor Ed25519.
    #[error("holds a key that is neither RSA nor Ed25519")]
    OtherKind,
}

impl SigningPair {
    /// Reads a private key: RSA of 2048 to 4096 bits, or Ed25519.
    pub fn from_pem(selector: String, pem: &[u8]) -> Result<Self, UnfitKey> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| UnfitKey::NoPem)?;
        // What openssl writes holds the private half alone.
        if let PrivateKeyDer::Pkcs8(der) = &der
            && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der())
        {
            let public = key.public_key();
            return Ok(Self { selector, public, key: DkimKey::Ed25519(key) });
        }
        let key = RsaKey::<Sha256>::from_key_der(der).map_err(|error| match error.to_string() {
            why if why.contains("TooSmall") => UnfitKey::TooSmall,
            why if why.contains("TooLarge") => UnfitKey::TooLarge,
            _ => UnfitKey::OtherKind,
        })?;
        Ok(Self { selector, public: key.public_key(), key: DkimKey::Rsa(key) })
    }

    /// The name below which receivers find the public half.
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// "rsa" or "ed25519".
    pub fn kind(&self) -> &'static str {
        match self.key.algorithm() {
            Algorithm::Ed25519Sha256 => "ed25519",
            Algorithm::RsaSha256 | Algorithm::RsaSha1 => "rsa",
        }
    }

    /// The public half as it is published: what follows "p=" (RFC 6376, 3.6.1; RFC 8463, 4.2).
    pub fn public_half(&self) -> String {
        match self.key.algorithm() {
            Algorithm::Ed25519Sha256 => STANDARD.encode(&self.public),
            Algorithm::RsaSha256 | Algorithm::RsaSha1 => STANDARD.encode(subject_public_key_info(&self.public)),
        }
    }

    /// The record to publish.
    pub fn record(&self) -> String {
        format!("v=DKIM1; k={}; p={}", self.kind(), self.public_half())
    }

    fn signature(&self, domain: &str, now: Timestamp) -> Signature {
        Signature {
            v: 1,
            a: self.key.algorithm(),
            d: domain.to_owned(),
            s: self.selector.clone(),
            ch: Canonicalization::Relaxed,
            cb: Canonicalization::Relaxed,
            t: now.timestamp().try_into().unwrap_or(0),
            ..Signature::default()
        }
    }
}

impl fmt::Debug for SigningPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningPair({} {})", self.selector, self.kind())
    }
}

/// The letter with a signature of each key for `domain` before it: nothing may change it from here on.
pub fn sign(letter: &[u8], domain: &str, keys: &[&SigningPair], now: Timestamp) -> Result<Vec<u8>, UnfitLetter> {
    let (names, headers, body) = what_is_signed(letter);
    let body = HashAlgorithm::Sha256.hash(Canonicalization::Relaxed.canonical_body(body, 0));
    let mut signed = Vec::with_capacity(2_048 + letter.len());
    for pair in keys {
        let mut signature = pair.signature(domain, now);
        signature.bh = body.as_ref().to_vec();
        signature.h.clone_from(&names);
        let wanted = Wanted { headers: &headers, signature: &signature };
        signature.b = pair.key.sign(wanted).map_err(|_| UnfitLetter::NotSigned)?;
        signature.write(&mut signed, true);
    }
    signed.extend_from_slice(letter);
    Ok(signed)
}

/// The names of the signed headers in their order, the headers in canonical form, and the body.
fn what_is_signed(letter: &[u8]) -> (Vec<String>, Vec<u8>, &[u8]) {
    let end = memchr::memmem::find(letter, b"\r\n\r\n").unwrap_or(letter.len());
    let body = letter.get(end + 4..).unwrap_or_default();
    let found = headers(letter.get(..end + 2).unwrap_or(letter));
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for wanted in SIGNED {
        let here = found.iter().rev().filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        let known = values.len();
        values.extend(here);
        let extra = usize::from(known == values.len() || OVERSIGNED.contains(&wanted));
        names.extend(std::iter::repeat_n(wanted.to_owned(), values.len() - known + extra));
    }
    let mut canonical = Vec::with_capacity(1_024);
    Canonicalization::Relaxed.canonicalize_headers(values.into_iter().copied(), &mut canonical);
    (names, canonical, body)
}

/// Names and values, folds and line ends included.
fn headers(lines: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut headers = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        if lines.get(end + 1).is_some_and(|next| matches!(next, b' ' | b'\t')) {
            continue;
        }
        let header = &lines[start..=end];
        if let Some(colon) = memchr::memchr(b':', header) {
            headers.push((&header[..colon], &header[colon + 1..]));
        }
        start = end + 1;
    }
    headers
}

struct Wanted<'a> {
    headers: &'a [u8],
    signature: &'a Signature,
}

impl Writable for Wanted<'_> {
    fn write(self, writer: &mut impl Writer) {
        writer.write(self.headers);
        self.signature.write(writer, false);
    }
}

/// An RSA public key with the name of its kind before it, in DER (RFC 5280, 4.1).
fn subject_public_key_info(key: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let bits = tagged(0x03, &[&[0], key].concat());
    tagged(0x30, &[&RSA_ENCRYPTION, bits.as_slice()].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut all = vec![tag];
    if content.len() >= 0x80 {
        all.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
    }
    all.extend_from_slice(length);
    all.extend_from_slice(content);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(file: &str) -> Result<SigningPair, UnfitKey> {
        let pem = std::fs::read(format!("{}/tests/keys/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        SigningPair::from_pem("s1".to_owned(), &pem)
    }

    #[test]
    fn a_key_is_rsa_of_2048_bits_or_more_or_ed25519() {
        let (rsa, same) = (pair("rsa-2048.pem").unwrap(), pair("rsa-2048-pkcs1.pem").unwrap());
        assert_eq!((rsa.kind(), rsa.public_half()), ("rsa", same.public_half()));
        assert!(rsa.record().starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "{}", rsa.record());
        let ed25519 = pair("ed25519.pem").unwrap();
        assert_eq!(ed25519.record(), "v=DKIM1; k=ed25519; p=LWtAcc+DiDhsgx4ivzZbQjnSQZq38SHl1JXHog5dKjM=");
        assert_eq!(pair("rsa-1024.pem").unwrap_err(), UnfitKey::TooSmall);
        assert_eq!(pair("p-256.pem").unwrap_err(), UnfitKey::OtherKind);
        assert_eq!(SigningPair::from_pem("s1".to_owned(), b"x").unwrap_err(), UnfitKey::NoPem);
        assert_eq!(format!("{rsa:?}"), "SigningPair(s1 rsa)");
    }

    #[test]
    fn what_is_there_is_signed_and_what_is_not_must_not_be_added() {
        let letter = b"From: a@example.com\r\nTo: b@example.com,\r\n c@example.com\r\nX-Other: x\r\nSubject:  a  b\r\n\r\nbody\r\n";
        let (names, headers, body) = what_is_signed(letter);
        let names = names.join(":");
        assert!(names.starts_with("From:From:To:To:Subject:Subject:Date:Message-ID:Reply-To:"), "{names}");
        assert!(!names.contains("X-Other"), "{names}");
        let headers = String::from_utf8(headers).unwrap();
        assert_eq!(headers, "from:a@example.com\r\nto:b@example.com, c@example.com\r\nsubject:a b\r\n");
        assert_eq!(body, b"body\r\n");
        assert_eq!(what_is_signed(b"From: a@example.com\r\n\r\n").2, b"");
    }

    /// The key, message and signature of RFC 8463, appendix A: what is hashed and signed is what others hash and sign.
    #[test]
    fn the_body_hash_is_that_of_the_standard() {
        let body = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
        let hash = HashAlgorithm::Sha256.hash(Canonicalization::Relaxed.canonical_body(body, 0));
        assert_eq!(STANDARD.encode(hash.as_ref()), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    }
}
