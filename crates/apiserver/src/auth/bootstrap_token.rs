//! Bootstrap tokens: what a machine shows that is to become a node and has no certificate yet (`--enable-bootstrap-token-auth`).
//!
//! A token `id.secret` is good as long as the Secret `kube-system/bootstrap-token-id` says so (upstream's
//! plugin/pkg/auth/authenticator/token/bootstrap; KEP-130).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::{Value, value};
use jiff::Timestamp;
use tracing::debug;

use super::User;
use super::token_file::equal_in_constant_time;

/// Where the Secrets are.
pub(crate) const NAMESPACE: &str = "kube-system";

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
/// Characters of a group's name behind `system:bootstrappers:`.
const GROUP_LENGTH_MAX: usize = 256;

/// The two parts of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> Token<'a> {
    /// Reads it; nothing where it is a token of another kind.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let is = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        (is(id, ID_LENGTH) && is(secret, SECRET_LENGTH)).then_some(Self { id, secret })
    }

    /// The name of the Secret that knows it.
    pub(crate) fn secret_name(self) -> String {
        format!("bootstrap-token-{}", self.id)
    }

    /// Whom it names by `secret`, if that makes it good. Why it does not is for the log: nobody must learn it who has no good one.
    pub(crate) fn user(self, secret: &Value, now: Timestamp) -> Option<User> {
        let groups = self.groups(secret, now);
        let groups =
            groups.inspect_err(|why| debug!(id = self.id, "a bootstrap token is refused: its Secret {why}")).ok()?;
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        Some(User::new(&format!("system:bootstrap:{}", self.id), &groups))
    }

    fn groups(self, secret: &Value, now: Timestamp) -> Result<Vec<String>, &'static str> {
        let text = |key: &str| {
            let encoded = value::map_at(secret, "data").and_then(|data| data.get(key)).and_then(Value::as_str);
            encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_default()
        };
        if value::get(secret, "metadata.deletionTimestamp").is_some() {
            return Err("is being deleted");
        }
        if value::str_at(secret, "type") != Some(TYPE) {
            return Err("is of another type");
        }
        if !equal_in_constant_time(&text("token-secret"), self.secret.as_bytes()) {
            return Err("has another token-secret");
        }
        if text("token-id") != self.id.as_bytes() {
            return Err("has another token-id");
        }
        if is_over(&text("expiration"), now) {
            return Err("has expired");
        }
        if text("usage-bootstrap-authentication") != b"true" {
            return Err("is not for authentication");
        }
        groups(&text("auth-extra-groups")).ok_or("names groups that are not system:bootstrappers:...")
    }
}

/// What cannot be read is over.
fn is_over(expiration: &[u8], now: Timestamp) -> bool {
    let end = std::str::from_utf8(expiration).ok().and_then(|text| text.parse::<Timestamp>().ok());
    !expiration.is_empty() && end.is_none_or(|end| end <= now)
}

/// Sorted, each once; nothing where one of them is no group of bootstrappers.
fn groups(extra: &[u8]) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    if !extra.is_empty() {
        for group in std::str::from_utf8(extra).ok()?.split(',') {
            let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let is_named =
                rest.len() <= GROUP_LENGTH_MAX && rest.bytes().all(|b| is_plain(b) || matches!(b, b':' | b'-'));
            if !is_named || !rest.bytes().last().is_some_and(is_plain) {
                return None;
            }
            groups.push(group.to_owned());
        }
    }
    groups.sort();
    groups.dedup();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = "abcdef.0123456789abcdef";

    fn secret(change: &[(&str, &str)]) -> Value {
        let mut data = serde_json::Map::new();
        let usual =
            [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-authentication", "true")];
        for (key, text) in usual.iter().chain(change) {
            data.insert((*key).to_owned(), STANDARD.encode(text).into());
        }
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": TYPE, "data": data})
    }

    fn user(secret: &Value) -> Option<User> {
        let now = "2026-06-01T00:00:00Z".parse().expect("a time");
        Token::parse(GOOD).expect("a token").user(secret, now)
    }

    #[test]
    fn tokens_have_two_parts_of_fixed_length() {
        assert_eq!(Token::parse(GOOD).map(Token::secret_name).as_deref(), Some("bootstrap-token-abcdef"));
        for other in ["abcdef", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcde.0123456789abcdeff", "a.b.c"]
        {
            assert_eq!(Token::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_secret_says_who_and_whether() {
        let known = user(&secret(&[])).expect("good");
        assert_eq!(known.name, "system:bootstrap:abcdef");
        assert_eq!(known.groups, ["system:bootstrappers", "system:authenticated"]);
        let extra = "system:bootstrappers:z,system:bootstrappers:a:b-1,system:bootstrappers:z";
        let known =
            user(&secret(&[("auth-extra-groups", extra), ("expiration", "2026-06-01T02:00:01+02:00")])).expect("good");
        let groups =
            ["system:bootstrappers", "system:bootstrappers:a:b-1", "system:bootstrappers:z", "system:authenticated"];
        assert_eq!(known.groups, groups);
        for bad in [
            ("token-secret", "0123456789abcdee"),
            ("token-secret", ""),
            ("token-id", "abcdeg"),
            ("usage-bootstrap-authentication", "yes"),
            ("expiration", "2026-06-01T00:00:00Z"),
            ("expiration", "tomorrow"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:"),
            ("auth-extra-groups", "system:bootstrappers:a-"),
            ("auth-extra-groups", "system:bootstrappers:a,"),
        ] {
            assert_eq!(user(&secret(&[bad])), None, "{bad:?}");
        }
        let mut other = secret(&[]);
        other["type"] = "Opaque".into();
        assert_eq!(user(&other), None);
        let mut going = secret(&[]);
        going["metadata"]["deletionTimestamp"] = "2026-05-31T00:00:00Z".into();
        assert_eq!(user(&going), None);
    }
}
