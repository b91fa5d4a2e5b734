//! The Secrets of bootstrap tokens, by which machines join (k8s.io/cluster-bootstrap).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// Where anybody may read what they sign.
pub const PUBLIC: &str = "kube-public";
/// The type of such a Secret.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const ID_LENGTH: usize = 6;

/// When a token is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It says nothing of that.
    Never,
    /// After this time.
    In(Duration),
    /// It is, or nobody can read when it would be.
    Over,
}

fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).unwrap_or_default()
}

/// When the Secret's token is over.
#[must_use]
pub fn expiry(secret: &Secret, now: Timestamp) -> Expiry {
    let has_any = secret.data.as_ref().and_then(|data| data.get("expiration")).is_some_and(|bytes| !bytes.0.is_empty());
    if !has_any {
        return Expiry::Never;
    }
    let left = text(secret, "expiration").parse::<Timestamp>().ok().map(|end| end.duration_since(now));
    match left.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero()) {
        Some(left) => Expiry::In(left),
        None => Expiry::Over,
    }
}

/// Id and secret of a token that may sign what machines are told before they trust anybody.
#[must_use]
pub fn signing(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let (id, token) = (text(secret, "token-id"), text(secret, "token-secret"));
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let named = secret.metadata.name.as_deref().and_then(|name| name.strip_prefix("bootstrap-token-"));
    let is_named = named == Some(id) && id.len() == ID_LENGTH && id.bytes().all(is_plain);
    let may = is_named && !token.is_empty() && text(secret, "usage-bootstrap-signing") == "true";
    (may && expiry(secret, now) != Expiry::Over).then_some((id, token))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
        let usual = [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true")];
        let data = usual.iter().chain(data).map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
        Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn tokens_end_when_they_say() {
        let check = |text: &str, expected| assert_eq!(expiry(&secret("", &[("expiration", text)]), now()), expected);
        check("", Expiry::Never);
        check("2026-06-01T02:00:10+02:00", Expiry::In(Duration::from_secs(10)));
        check("2026-06-01T00:00:00Z", Expiry::Over);
        check("2025-06-01T00:00:00Z", Expiry::Over);
        check("tomorrow", Expiry::Over);
    }

    #[test]
    fn only_whole_tokens_that_may_sign_do() {
        let check = |name: &str, data: &[(&str, &str)], expected| {
            assert_eq!(signing(&secret(name, data), now()).is_some(), expected, "{name} {data:?}");
        };
        let name = "bootstrap-token-abcdef";
        check(name, &[], true);
        check(name, &[("expiration", "2027-01-01T00:00:00Z")], true);
        check(name, &[("expiration", "2025-01-01T00:00:00Z")], false);
        check(name, &[("usage-bootstrap-signing", "yes")], false);
        check(name, &[("token-secret", "")], false);
        check(name, &[("token-id", "fedcba")], false);
        check("bootstrap-token-abc", &[("token-id", "abc")], false);
        check("abcdef", &[], false);
    }
}
