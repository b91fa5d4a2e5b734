//! What becomes of a token Secret and of an account that lists it: pure.

use std::collections::BTreeMap;

use gantry_api::legacy_token::{ACCOUNT_NAME, ACCOUNT_UID, Claims, NAMESPACE, ROOT_CA, TOKEN};
use gantry_client::Object;
use gantry_common::token_keys::Keys;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};

/// The uid of the account that the Secret is for; "" until it has been filled.
pub(super) fn account_uid(secret: &Secret) -> &str {
    let annotations = secret.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(ACCOUNT_UID)).map_or("", String::as_str)
}

/// The Secret with all that it lacks; `None` when it lacks nothing.
///
/// # Errors
/// Why no token could be signed.
pub(super) fn filled(
    secret: &Secret,
    account: &ServiceAccount,
    root_ca: Option<&str>,
    keys: &Keys,
) -> Result<Option<Secret>, String> {
    let has = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
    let root_ca = root_ca.filter(|bundle| !bundle.is_empty() && has(ROOT_CA) != bundle.as_bytes());
    if root_ca.is_none() && !has(NAMESPACE).is_empty() && !has(TOKEN).is_empty() {
        return Ok(None);
    }
    let (place, account_place) = (secret.key(), account.key());
    let mut next = secret.clone();
    let mut put = |key: &str, text: String| {
        next.data.get_or_insert_default().insert(key.to_owned(), ByteString(text.into_bytes()));
    };
    if let Some(bundle) = root_ca {
        put(ROOT_CA, bundle.to_owned());
    }
    if has(NAMESPACE).is_empty() {
        put(NAMESPACE, place.namespace.clone());
    }
    if has(TOKEN).is_empty() {
        let claims = Claims::new(&account_place.namespace, &place.name, &account_place.name, account.uid());
        let signed = keys.sign(&claims).ok_or_else(|| "there is no key that can sign".to_owned())?;
        put(TOKEN, signed.map_err(|error| error.to_string())?);
    }
    let annotations = next.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_NAME.to_owned(), account_place.name);
    annotations.insert(ACCOUNT_UID.to_owned(), account.uid().to_owned());
    Ok(Some(next))
}

/// The account without the Secrets in `gone` (name, and uid of the account that it was for); `None` when it lists none.
pub(super) fn without(mut account: ServiceAccount, gone: &BTreeMap<String, String>) -> Option<ServiceAccount> {
    let uid = account.uid().to_owned();
    let listed = account.secrets.as_mut()?;
    let before = listed.len();
    listed.retain(|reference| {
        let of = reference.name.as_ref().and_then(|name| gone.get(name));
        of.is_none_or(|of| !of.is_empty() && *of != uid)
    });
    (listed.len() < before).then_some(account)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    fn meta(name: &str, uid: &str) -> ObjectMeta {
        let text = |s: &str| Some(s.to_owned());
        ObjectMeta { name: text(name), namespace: text("a"), uid: text(uid), ..ObjectMeta::default() }
    }

    fn account(listed: &[&str]) -> ServiceAccount {
        let reference = |name: &&str| ObjectReference { name: Some((*name).to_owned()), ..ObjectReference::default() };
        let secrets = Some(listed.iter().map(reference).collect());
        ServiceAccount { metadata: meta("web", "sa-1"), secrets, ..ServiceAccount::default() }
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect();
        Secret { metadata: meta("s", "s-1"), data: Some(data), ..Secret::default() }
    }

    fn keys() -> Keys {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sa.key");
        std::fs::write(&file, rcgen::KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        Keys::load(Some(&file), &[]).expect("a key")
    }

    #[test]
    fn token_secrets_get_what_they_lack_and_keep_what_they_have() {
        let keys = keys();
        let fill = |data: &[(&str, &str)], ca| filled(&secret(data), &account(&[]), ca, &keys).expect("signs");
        let text = |secret: &Secret, key: &str| {
            let data = secret.data.clone().unwrap_or_default();
            data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
        };
        let new = fill(&[("mine", "x")], Some("pem")).expect("filled");
        assert_eq!(text(&new, "ca.crt").as_deref(), Some("pem"));
        assert_eq!(text(&new, "namespace").as_deref(), Some("a"));
        assert_eq!(text(&new, "mine").as_deref(), Some("x"));
        let claims: Claims = keys.verify(&text(&new, "token").expect("a token")).expect("signed by the key");
        assert_eq!(claims, Claims::new("a", "s", "web", "sa-1"));
        assert_eq!(account_uid(&new), "sa-1");

        let whole = [("token", "t"), ("namespace", "other"), ("ca.crt", "pem")];
        assert_eq!(fill(&whole, Some("pem")), None);
        assert_eq!(fill(&whole[..2], None), None, "without a CA none is written");
        let rotated = fill(&whole, Some("next")).expect("filled");
        assert_eq!(text(&rotated, "ca.crt").as_deref(), Some("next"));
        assert_eq!(text(&rotated, "token").as_deref(), Some("t"), "a token that is there is not replaced");
        assert_eq!(text(&rotated, "namespace").as_deref(), Some("other"));
    }

    #[test]
    fn token_secrets_that_went_leave_their_accounts_list() {
        let check = |listed: &[&str], gone: &[(&str, &str)], expected: Option<&[&str]>| {
            let gone = gone.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let left = without(account(listed), &gone).map(|account| account.secrets);
            assert_eq!(left, expected.map(|names| account(names).secrets), "{listed:?} without {gone:?}");
        };
        check(&["s", "other"], &[("s", "sa-1")], Some(&["other"]));
        check(&["s"], &[("s", "")], Some(&[]));
        check(&["s"], &[("s", "sa-0")], None);
        check(&["other"], &[("s", "sa-1")], None);
    }
}
