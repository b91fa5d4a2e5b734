//! Service-account tokens that are kept in Secrets: what they say, and what is noted about them (KEP-2799).
//!
//! A user makes a Secret of type [`SECRET_TYPE`] that names an account; the controller manager fills it, the API server
//! believes the token as long as the Secret holds it.

use serde::{Deserialize, Serialize};

/// The type of the Secrets that hold such tokens.
pub const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation that names the account; required.
pub const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// The annotation with the account's uid, which the controller manager adds.
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// The Secret's key of the token.
pub const TOKEN: &str = "token";
/// The Secret's key of the CA that has signed the API server's certificate.
pub const ROOT_CA: &str = "ca.crt";
/// The Secret's key of the namespace.
pub const NAMESPACE: &str = "namespace";
/// The issuer of such tokens.
pub const ISSUER: &str = "kubernetes/serviceaccount";
/// The label with the day of the last use.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// The label with the day since which the token is refused.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The ConfigMap in kube-system that says since when uses are noted.
pub const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
/// The ConfigMap's key of that day.
pub const TRACKED_SINCE: &str = "since";

/// The claims of such a token. It has no audience and no end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// [`ISSUER`].
    #[serde(rename = "iss")]
    pub issuer: String,
    /// `system:serviceaccount:<namespace>:<account>`.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Namespace of the account and the Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// Name of the Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret_name: String,
    /// Name of the account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account_name: String,
    /// Uid of the account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
    /// For whom it is; what the API server issues has none.
    #[serde(rename = "aud", skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
}

impl Claims {
    /// The claims of the token in a Secret.
    #[must_use]
    pub fn new(namespace: &str, secret: &str, account: &str, account_uid: &str) -> Self {
        Self {
            issuer: ISSUER.to_owned(),
            subject: subject(namespace, account),
            namespace: namespace.to_owned(),
            secret_name: secret.to_owned(),
            account_name: account.to_owned(),
            account_uid: account_uid.to_owned(),
            audiences: Vec::new(),
        }
    }

    /// What the token lacks or contradicts, in upstream's words.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let needed = [
            ("sub", &self.subject),
            ("namespace", &self.namespace),
            ("secretName", &self.secret_name),
            ("serviceAccountName", &self.account_name),
            ("serviceAccountUID", &self.account_uid),
        ];
        if let Some((name, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Some(format!("{name} claim is missing"));
        }
        (self.subject != subject(&self.namespace, &self.account_name)).then(|| "sub claim is invalid".to_owned())
    }
}

fn subject(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// A day as labels and the ConfigMap have it: `2006-01-02`, in UTC.
#[must_use]
pub fn day(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// The first moment of a day that was written by [`day`]; `None` for anything else.
#[must_use]
pub fn start_of(day: &str) -> Option<jiff::Timestamp> {
    let date: jiff::civil::Date = day.parse().ok()?;
    // The parser knows more forms.
    (date.strftime("%Y-%m-%d").to_string() == day).then_some(())?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_tokens_claims_are_upstreams() {
        let json = serde_json::to_value(Claims::new("a", "s", "web", "u")).expect("plain data");
        assert_eq!(
            json,
            serde_json::json!({
                "iss": "kubernetes/serviceaccount",
                "sub": "system:serviceaccount:a:web",
                "kubernetes.io/serviceaccount/namespace": "a",
                "kubernetes.io/serviceaccount/secret.name": "s",
                "kubernetes.io/serviceaccount/service-account.name": "web",
                "kubernetes.io/serviceaccount/service-account.uid": "u",
            })
        );
    }

    #[test]
    fn legacy_tokens_faults_are_named() {
        let check = |change: fn(&mut Claims), expected: Option<&str>| {
            let mut claims = Claims::new("a", "s", "web", "u");
            change(&mut claims);
            assert_eq!(claims.fault().as_deref(), expected);
        };
        check(|_| {}, None);
        check(|c| c.subject.clear(), Some("sub claim is missing"));
        check(|c| c.namespace.clear(), Some("namespace claim is missing"));
        check(|c| c.secret_name.clear(), Some("secretName claim is missing"));
        check(|c| c.account_name.clear(), Some("serviceAccountName claim is missing"));
        check(|c| c.account_uid.clear(), Some("serviceAccountUID claim is missing"));
        check(|c| c.account_name = "admin".to_owned(), Some("sub claim is invalid"));
    }

    #[test]
    fn legacy_tokens_days_are_read_as_they_are_written() {
        let at: jiff::Timestamp = "2026-03-09T23:59:59Z".parse().expect("a time");
        assert_eq!(day(at), "2026-03-09");
        let start = start_of("2026-03-09").expect("a day");
        assert_eq!(start.to_string(), "2026-03-09T00:00:00Z");
        for other in ["", "20260309", "2026-3-9", "2026-02-30", "2026-03-09T00:00:00", "today"] {
            assert_eq!(start_of(other), None, "{other}");
        }
    }
}
