//! What an answer may repeat of its request and nobody else may see: taken out of every text before it is cleaned.
//!
//! Invariant: redact first, clean second. [`clean`] cuts a text, and a cut text must not end in half a secret.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use crate::error::clean;
use crate::item::Item;
use crate::remote::PresignedUrl;

/// A shorter value is likely to be an ordinary word that a server uses for something else.
const SECRET_LENGTH_MIN: usize = 8;

/// Parameters of a presigned URL whose value grants access, or says whose access it is, by a part of their names
/// (SigV2, SigV4, CloudFront, GCS, Azure).
const SECRET_PARAMETERS: [&str; 8] =
    ["sig", "token", "credential", "accesskey", "accessid", "key-pair", "policy", "secret"];

/// What a request to the API holds: the key, and the ids, which identify patients. A row is named by its line instead.
pub(super) struct RequestSecrets<'a> {
    key: &'a SecretString,
    ids: [&'a str; 2],
}

impl<'a> RequestSecrets<'a> {
    /// A request that names no image.
    pub(super) const fn key_only(key: &'a SecretString) -> Self {
        Self { key, ids: ["", ""] }
    }

    pub(super) fn of(key: &'a SecretString, item: &'a Item) -> Self {
        Self { key, ids: [item.note.as_str(), item.image.as_str()] }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) const fn new(key: &'a SecretString, note: &'a str, image: &'a str) -> Self {
        Self { key, ids: [note, image] }
    }

    /// The text without the secrets, safe to show.
    pub(super) fn clean(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        let mut text = if key.is_empty() { text.to_owned() } else { text.replace(key, "[key]") };
        for (id, name) in self.ids.into_iter().zip(["[note]", "[image]"]) {
            if id.len() >= SECRET_LENGTH_MIN && id.bytes().any(|byte| byte.is_ascii_digit()) {
                text = text.replace(id, name);
            }
        }
        clean(&text)
    }
}

/// What a presigned URL holds: the URL, its query, and the values in it that grant access.
pub(super) struct UrlSecrets(Vec<String>);

impl UrlSecrets {
    pub(super) fn of(signed: &PresignedUrl) -> Self {
        let query = signed.expose().split_once('?').map_or("", |(_, query)| query);
        let mut secrets = vec![signed.expose().to_owned(), query.to_owned()];
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let name = name.to_ascii_lowercase();
            if SECRET_PARAMETERS.iter().any(|word| name.contains(word)) {
                let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
                // the access key's id of a credential is also repeated on its own
                secrets.extend(decoded.split_once('/').map(|(name, _)| name.to_owned()));
                secrets.extend([value.to_owned(), decoded]);
            }
        }
        secrets.retain(|secret| secret.len() >= SECRET_LENGTH_MIN);
        // longest first: a secret may be part of another one
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without the secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[hidden]"))
    }

    /// The text without the secrets, safe to show.
    pub(super) fn clean(&self, text: &str) -> String {
        clean(&self.redact(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_the_url_is_hidden_where_the_storage_repeats_it() {
        let url = "https://s3/b/k?X-Amz-Credential=AKIACANARY%2F20260101%2Fus&X-Amz-Signature=0123456789abcdef\
                   &response-content-type=image%2Fjpeg";
        let secrets = UrlSecrets::of(&PresignedUrl::new(url.to_owned(), tokio::time::Instant::now()));
        for (text, hidden) in [
            ("sig 0123456789abcdef!", "sig [hidden]!"),
            ("by AKIACANARY/20260101/us", "by [hidden]"),
            ("by AKIACANARY%2F20260101%2Fus", "by [hidden]"),
            ("the access key AKIACANARY is unknown", "the access key [hidden] is unknown"),
            (url, "[hidden]"),
            ("image/jpeg", "image/jpeg"),
        ] {
            assert_eq!(secrets.redact(text), hidden);
        }
    }
}
