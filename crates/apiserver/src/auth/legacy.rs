//! Service-account tokens that are kept in Secrets: good as long as the Secret holds them and its account is there.

use std::collections::BTreeMap;

use gantry_api::legacy_token::{self, Claims, INVALID_SINCE, LAST_USED, TOKEN};
use gantry_api::{Value, value};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::User;
use super::anchors::{Anchor, Anchors};
use super::service_account::Expected;
use super::token_file::equal_in_constant_time;
use crate::metrics::legacy_tokens::LegacyTokens;
use crate::request::Notes;

/// What the client of a token that was made for it is told (upstream's words).
const AUTO_GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";
/// Secrets whose label is still to be written at most; what is used beyond is noted at its next use.
const UNWRITTEN_MAX: usize = 1024;

/// A Secret whose token was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// The uses of such tokens: counted, and to be noted on their Secrets.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    pub(crate) counts: LegacyTokens,
    /// With the day to be written.
    unwritten: Mutex<BTreeMap<Used, String>>,
    wake: Notify,
}

impl Uses {
    fn add(&self, used: Used, day: String) {
        let mut unwritten = self.unwritten.lock();
        if unwritten.len() < UNWRITTEN_MAX || unwritten.contains_key(&used) {
            unwritten.insert(used, day);
            self.wake.notify_one();
        }
    }

    /// The next Secret to be labelled, and the day. For one reader.
    pub(crate) async fn next(&self) -> (Used, String) {
        loop {
            if let Some(next) = self.unwritten.lock().pop_first() {
                return next;
            }
            self.wake.notified().await;
        }
    }
}

/// What is known when a token is looked at.
pub(crate) struct Look<'a> {
    /// The token itself.
    pub(crate) token: &'a str,
    /// The audiences of a token that names none.
    pub(crate) implied: &'a [String],
    pub(crate) anchors: &'a Anchors,
    pub(crate) uses: &'a Uses,
    pub(crate) notes: &'a Notes,
}

/// The user of a token whose signature was checked, and the audiences that both sides named.
///
/// # Errors
/// Why the token is not (or no longer) good, in upstream's words.
pub(crate) async fn user(
    claims: &Claims,
    expected: &Expected<'_>,
    look: &Look<'_>,
) -> Result<(User, Vec<String>), String> {
    let named = if claims.audiences.is_empty() {
        look.notes.annotate("authentication.k8s.io/legacy-token", &claims.subject);
        look.uses.counts.used.add(1);
        look.implied
    } else {
        &claims.audiences
    };
    let audiences: Vec<String> = named.iter().filter(|a| expected.audiences.contains(a)).cloned().collect();
    if audiences.is_empty() {
        return Err(super::not_for(named, expected.audiences));
    }
    if let Some(fault) = claims.fault() {
        return Err(fault);
    }
    let secret = secret(claims, look).await?;
    let account = account(claims, look.anchors).await?;
    note(claims, (&secret, &account), expected.now, look)?;
    Ok((User::service_account(&claims.namespace, &claims.account_name, &claims.account_uid), audiences))
}

/// The Secret that holds the token.
async fn secret(claims: &Claims, look: &Look<'_>) -> Result<Value, String> {
    let (namespace, name) = (&claims.namespace, &claims.secret_name);
    let holds = |secret: &Value| {
        let kept = value::map_at(secret, "data").and_then(|data| data.get(TOKEN)).and_then(Value::as_str);
        let kept = kept.and_then(|text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok());
        equal_in_constant_time(&kept.unwrap_or_default(), look.token.as_bytes())
    };
    let anchor = Anchor { resource: "secrets", namespace, name, mark: look.token };
    let found = look.anchors.object(anchor, holds).await;
    let Some(secret) = found.filter(|secret| value::get(secret, "metadata.deletionTimestamp").is_none()) else {
        return Err("Token has been invalidated".to_owned());
    };
    if !holds(&secret) {
        return Err("Token does not match server's copy".to_owned());
    }
    Ok(secret)
}

/// The account that the token stands for.
async fn account(claims: &Claims, anchors: &Anchors) -> Result<Value, String> {
    let (namespace, name, claimed) = (&claims.namespace, &claims.account_name, &claims.account_uid);
    let anchor = Anchor { resource: "serviceaccounts", namespace, name, mark: claimed };
    let is_it = |account: &Value| value::str_at(account, "metadata.uid") == Some(claimed);
    let found = anchors.object(anchor, is_it).await;
    let account = found.ok_or_else(|| format!("serviceaccounts {name:?} not found"))?;
    if value::get(&account, "metadata.deletionTimestamp").is_some() {
        return Err(format!("ServiceAccount {namespace}/{name} has been deleted"));
    }
    let uid = value::str_at(&account, "metadata.uid").unwrap_or_default();
    if uid != claimed {
        return Err(format!("ServiceAccount UID ({uid}) does not match claim ({claimed})"));
    }
    Ok(account)
}

/// Notes the use where upstream does: audit, warnings, counts and the Secret's label. Refuses what has been marked invalid.
fn note(claims: &Claims, (secret, account): (&Value, &Value), now: Timestamp, look: &Look<'_>) -> Result<(), String> {
    let (namespace, name, counts) = (&claims.namespace, &claims.secret_name, &look.uses.counts);
    let label = |key: &str| {
        let labels = value::map_at(secret, "metadata.labels");
        labels.and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or_default()
    };
    let is_now = [now.as_second(), now.as_second() + 86_400]
        .into_iter()
        .any(|second| Timestamp::from_second(second).is_ok_and(|at| legacy_token::day(at) == label(LAST_USED)));
    if !is_now {
        let uid = value::str_at(secret, "metadata.uid").unwrap_or_default().to_owned();
        let used = Used { namespace: namespace.clone(), name: name.clone(), uid };
        look.uses.add(used, legacy_token::day(now));
    }
    if !label(INVALID_SINCE).is_empty() {
        look.notes.annotate("authentication.k8s.io/legacy-token-invalidated", &format!("{name}/{namespace}"));
        counts.invalidated.add(1);
        return Err(format!(
            "the token in secret {namespace}/{name} for service account {namespace}/{} has been marked invalid. Use tokens \
             from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from \
             the secret to temporarily allow use of this token",
            claims.account_name
        ));
    }
    if value::list_at(account, "secrets").iter().any(|s| value::str_at(s, "name") == Some(name)) {
        look.notes.warn(AUTO_GENERATED);
        look.notes.annotate("authentication.k8s.io/legacy-token-autogenerated-secret", name);
        counts.generated.add(1);
    } else {
        look.notes.annotate("authentication.k8s.io/legacy-token-manual-secret", name);
        counts.manual.add(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
