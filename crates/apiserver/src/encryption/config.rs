//! `EncryptionConfiguration` (apiserver.config.k8s.io/v1): read, checked in upstream's words, made into providers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::field::{self, Path};
use gantry_api::{Value, decode};
use serde::Deserialize;

use super::cipher::Cipher;
use super::provider::{Key, Provider, Providers};
use super::resource::{self, GroupResource};

const AES_SIZES: &[usize] = &[16, 24, 32];
const BOX_SIZES: &[usize] = &[32];
const AT_LEAST_ONE: &str = "at least one";
/// What upstream says of a secret instead of printing it.
const REDACTED: &str = "REDACTED";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Value>,
    kms: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

/// What a kind of provider is called and how its keys are made.
struct Scheme {
    name: &'static str,
    prefix: &'static str,
    no_key: &'static str,
    sizes: &'static [usize],
    cipher: fn(&[u8]) -> Option<Cipher>,
}

const AESGCM: Scheme = Scheme {
    name: "aesgcm",
    prefix: "k8s:enc:aesgcm:v1:",
    no_key: "no matching key was found for the provided AES transformer",
    sizes: AES_SIZES,
    cipher: Cipher::aesgcm,
};
const AESCBC: Scheme = Scheme {
    name: "aescbc",
    prefix: "k8s:enc:aescbc:v1:",
    no_key: "no matching key was found for the provided AES transformer",
    sizes: AES_SIZES,
    cipher: Cipher::aescbc,
};
const SECRETBOX: Scheme = Scheme {
    name: "secretbox",
    prefix: "k8s:enc:secretbox:v1:",
    no_key: "no matching key was found for the provided Secretbox transformer",
    sizes: BOX_SIZES,
    cipher: Cipher::secretbox,
};

/// The providers of every resource that the file names.
#[derive(Default)]
pub(super) struct Rules(Vec<(GroupResource, Providers)>);

impl Rules {
    /// The providers of a resource: of the most exact rule among its own, its group's, and that for everything.
    pub(super) fn providers(&self, group: &str, resource: &str) -> Option<&Providers> {
        let rule = |group: &str, resource: &str| self.0.iter().find(|(named, _)| named.is(group, resource));
        let found = rule(group, resource).or_else(|| rule(group, "*")).or_else(|| rule("*", "*"));
        found.map(|(_, providers)| providers)
    }

    fn add(&mut self, resource: GroupResource, providers: &[Arc<Provider>]) {
        match self.0.iter_mut().find(|(named, _)| *named == resource) {
            Some((_, known)) => known.0.extend_from_slice(providers),
            None => self.0.push((resource, Providers(providers.to_vec()))),
        }
    }

    /// The earlier rule that covers `resource` already.
    fn masking(&self, resource: &GroupResource) -> Option<String> {
        let wider = [resource.whole_group(), GroupResource::everything()];
        let found = wider.into_iter().find(|wider| self.0.iter().any(|(named, _)| named == wider))?;
        Some(format!("resource {:?} is masked by earlier rule {:?}", resource.to_string(), found.to_string()))
    }
}

/// Reads the file's text.
///
/// # Errors
/// Everything that is wrong with it, in upstream's words. Never a secret.
pub(super) fn parse(text: &[u8]) -> Result<Rules, String> {
    let (value, _) = decode::yaml(text).map_err(|status| status.message)?;
    let config: Configuration = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if config.kind != "EncryptionConfiguration" || !is_served(&config.api_version) {
        return Err(format!(
            "got unexpected config type: {}, Kind={}: want apiserver.config.k8s.io/v1, Kind=EncryptionConfiguration",
            config.api_version, config.kind
        ));
    }
    let mut errors = Vec::new();
    let root = Path::new("resources");
    if config.resources.is_empty() {
        errors.push(field::Error::required(&root, &format!("{AT_LEAST_ONE} resources is required")));
    }
    let mut rules = Rules::default();
    let mut masked = None;
    for (number, rule) in config.resources.iter().enumerate() {
        let at = root.index(number);
        let providers = self::rule(rule, &at, &mut errors);
        for name in &rule.resources {
            let resource = GroupResource::parse(name);
            masked = masked.or_else(|| rules.masking(&resource));
            rules.add(resource, &providers);
        }
    }
    match (errors.is_empty(), masked) {
        (false, _) => Err(said(&errors)),
        (true, Some(masked)) => Err(masked),
        (true, None) => Ok(rules),
    }
}

fn is_served(api_version: &str) -> bool {
    api_version == "apiserver.config.k8s.io/v1"
}

/// Field errors as upstream joins them.
fn said(errors: &[field::Error]) -> String {
    let mut all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match all.len() {
        1 => all.pop().unwrap_or_default(),
        _ => format!("[{}]", all.join(", ")),
    }
}

fn rule(rule: &Rule, at: &Path, errors: &mut Vec<field::Error>) -> Vec<Arc<Provider>> {
    let (resources, providers) = (at.child("resources"), at.child("providers"));
    if rule.resources.is_empty() {
        errors.push(field::Error::required(&resources, &format!("{AT_LEAST_ONE} {resources} is required")));
    }
    resource::check(&rule.resources, &resources, errors);
    if rule.providers.is_empty() {
        errors.push(field::Error::required(&providers, &format!("{AT_LEAST_ONE} {providers} is required")));
    }
    let made = rule.providers.iter().enumerate();
    made.filter_map(|(number, entry)| provider(entry, &providers.index(number), errors)).collect()
}

fn provider(entry: &Entry, at: &Path, errors: &mut Vec<field::Error>) -> Option<Arc<Provider>> {
    let mut refuse = |why: &str| {
        errors.push(field::Error::invalid(at, REDACTED, why));
        None
    };
    let named = [(&entry.aesgcm, AESGCM), (&entry.aescbc, AESCBC), (&entry.secretbox, SECRETBOX)];
    let mut named = named.into_iter().filter_map(|(keys, scheme)| Some((keys.as_ref()?, scheme)));
    match (named.next(), named.next(), &entry.identity, &entry.kms) {
        (Some((keys, scheme)), None, None, None) => self::keys(keys, &scheme, &at.child(scheme.name), errors),
        (None, None, Some(_), None) => Some(Arc::new(Provider::Identity)),
        (None, None, None, Some(_)) => refuse("KMS plugins are not supported: use aesgcm, secretbox or aescbc"),
        (None, None, None, None) => {
            refuse("provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity")
        }
        _ => refuse("more than one provider specified in a single element, should split into different list elements"),
    }
}

fn keys(keys: &Keys, scheme: &Scheme, at: &Path, errors: &mut Vec<field::Error>) -> Option<Arc<Provider>> {
    let at = at.child("keys");
    if keys.keys.is_empty() {
        errors.push(field::Error::required(&at, &format!("{AT_LEAST_ONE} keys is required")));
        return None;
    }
    let made = keys.keys.iter().enumerate().map(|(number, key)| self::key(key, scheme, &at.index(number), errors));
    let made: Vec<Key> = made.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
    Some(Arc::new(Provider::Keys { prefix: scheme.prefix, no_key: scheme.no_key, keys: made }))
}

fn key(key: &NamedKey, scheme: &Scheme, at: &Path, errors: &mut Vec<field::Error>) -> Option<Key> {
    if key.name.is_empty() {
        errors.push(field::Error::required(&at.child("name"), "name is a mandatory field for a key"));
    }
    let at = at.child("secret");
    if key.secret.is_empty() {
        errors.push(field::Error::required(&at, "secret is a mandatory field for a key"));
        return None;
    }
    let Ok(secret) = STANDARD.decode(&key.secret) else {
        errors.push(field::Error::invalid(&at, REDACTED, "secrets must be base64 encoded"));
        return None;
    };
    if !scheme.sizes.contains(&secret.len()) {
        let sizes: Vec<String> = scheme.sizes.iter().map(ToString::to_string).collect();
        let (got, sizes) = (secret.len(), sizes.join(" "));
        let why = format!("secret is not of the expected length, got {got}, expected one of [{sizes}]");
        errors.push(field::Error::invalid(&at, REDACTED, &why));
        return None;
    }
    Some(Key { prefix: format!("{}:", key.name), cipher: (scheme.cipher)(&secret)? })
}
