//! `EncryptionConfiguration` (apiserver.config.k8s.io/v1): read, checked in upstream's words, made into providers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::field::{self, Path};
use gantry_api::{Value, decode};
use serde::Deserialize;

use super::cipher::Cipher;
use super::kms::Kms;
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
    kms: Option<Plugin>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plugin {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "cachesize")]
    cache_size: Option<i64>,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
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
pub(super) struct Rules {
    by_resource: Vec<(GroupResource, Providers)>,
    /// Every plugin that is named.
    plugins: Vec<Arc<Kms>>,
}

impl Rules {
    /// The providers of a resource: of the most exact rule among its own, its group's, and that for everything.
    pub(super) fn providers(&self, group: &str, resource: &str) -> Option<&Providers> {
        let rule = |group: &str, resource: &str| self.by_resource.iter().find(|(named, _)| named.is(group, resource));
        let found = rule(group, resource).or_else(|| rule(group, "*")).or_else(|| rule("*", "*"));
        found.map(|(_, providers)| providers)
    }

    /// Asks all plugins how they are.
    pub(super) async fn check(&self) -> Result<(), String> {
        let checks = futures::future::join_all(self.plugins.iter().map(|plugin| plugin.check())).await;
        joined(checks)
    }

    /// Whether a plugin has left values unopened since the last time.
    pub(super) fn missed(&self) -> bool {
        let missed: Vec<bool> = self.plugins.iter().map(|plugin| plugin.missed()).collect();
        missed.contains(&true)
    }

    /// What the plugins said when they were asked last; `None` where there are none.
    pub(super) fn health(&self) -> Option<Result<(), String>> {
        (!self.plugins.is_empty()).then(|| joined(self.plugins.iter().map(|plugin| plugin.health()).collect()))
    }

    fn add(&mut self, resource: GroupResource, providers: &[Arc<Provider>]) {
        match self.by_resource.iter_mut().find(|(named, _)| *named == resource) {
            Some((_, known)) => known.0.extend_from_slice(providers),
            None => self.by_resource.push((resource, Providers(providers.to_vec()))),
        }
    }

    /// The earlier rule that covers `resource` already.
    fn masking(&self, resource: &GroupResource) -> Option<String> {
        let wider = [resource.whole_group(), GroupResource::everything()];
        let found = wider.into_iter().find(|wider| self.by_resource.iter().any(|(named, _)| named == wider))?;
        Some(format!("resource {:?} is masked by earlier rule {:?}", resource.to_string(), found.to_string()))
    }
}

/// Good when all are.
fn joined(results: Vec<Result<(), String>>) -> Result<(), String> {
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
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
        let providers = self::rule(rule, &at, &mut rules.plugins, &mut errors);
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

fn rule(rule: &Rule, at: &Path, plugins: &mut Vec<Arc<Kms>>, errors: &mut Vec<field::Error>) -> Vec<Arc<Provider>> {
    let (resources, providers) = (at.child("resources"), at.child("providers"));
    if rule.resources.is_empty() {
        errors.push(field::Error::required(&resources, &format!("{AT_LEAST_ONE} {resources} is required")));
    }
    resource::check(&rule.resources, &resources, errors);
    if rule.providers.is_empty() {
        errors.push(field::Error::required(&providers, &format!("{AT_LEAST_ONE} {providers} is required")));
    }
    let made = rule.providers.iter().enumerate();
    made.filter_map(|(number, entry)| provider(entry, &providers.index(number), plugins, errors)).collect()
}

fn provider(
    entry: &Entry,
    at: &Path,
    plugins: &mut Vec<Arc<Kms>>,
    errors: &mut Vec<field::Error>,
) -> Option<Arc<Provider>> {
    let mut refuse = |why: &str| {
        errors.push(field::Error::invalid(at, REDACTED, why));
        None
    };
    let named = [(&entry.aesgcm, AESGCM), (&entry.aescbc, AESCBC), (&entry.secretbox, SECRETBOX)];
    let mut named = named.into_iter().filter_map(|(keys, scheme)| Some((keys.as_ref()?, scheme)));
    match (named.next(), named.next(), &entry.identity, &entry.kms) {
        (Some((keys, scheme)), None, None, None) => self::keys(keys, &scheme, &at.child(scheme.name), errors),
        (None, None, Some(_), None) => Some(Arc::new(Provider::Identity)),
        (None, None, None, Some(named)) => {
            let made = Arc::new(plugin(named, &at.child("kms"), plugins, errors)?);
            plugins.push(made.clone());
            Some(Arc::new(Provider::Kms(made)))
        }
        (None, None, None, None) => {
            refuse("provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity")
        }
        _ => refuse("more than one provider specified in a single element, should split into different list elements"),
    }
}

/// Used where the configuration does not say how long a plugin may take.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(3);
const OLD_PLUGIN: &str = "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.";

fn plugin(named: &Plugin, at: &Path, known: &[Arc<Kms>], errors: &mut Vec<field::Error>) -> Option<Kms> {
    let before = errors.len();
    let name = named.name.as_str();
    if name.is_empty() {
        errors.push(field::Error::required(&at.child("name"), "name is a mandatory field for a provider"));
    }
    if name.contains(':') {
        let why = format!("invalid KMS provider name {name}, must not contain ':'");
        errors.push(field::Error::invalid(&at.child("name"), name, &why));
    }
    if known.iter().any(|known| known.name() == name) {
        let why = format!("duplicate KMS provider name {name}, names must be unique");
        errors.push(field::Error::invalid(&at.child("name"), name, &why));
    }
    let timeout = match named.timeout.as_deref().map(gantry_common::daemon::duration) {
        None => Some(PLUGIN_TIMEOUT),
        Some(stated) => stated.ok().filter(|stated| !stated.is_zero()),
    };
    if timeout.is_none() {
        let stated = named.timeout.clone().unwrap_or_default();
        errors.push(field::Error::invalid(&at.child("timeout"), stated, "timeout should be a positive value"));
    }
    let endpoint = named.endpoint.as_str();
    let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
    if endpoint.is_empty() {
        let why = "endpoint is a mandatory field for a kms";
        errors.push(field::Error::invalid(&at.child("endpoint"), "", why));
    } else if scheme != "unix" {
        let why = format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported");
        errors.push(field::Error::invalid(&at.child("endpoint"), endpoint, &why));
    }
    let version = at.child("apiVersion");
    match named.api_version.as_str() {
        "v2" => {}
        "" | "v1" => errors.push(field::Error::forbidden(&version, OLD_PLUGIN)),
        other => {
            let why = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
            errors.push(field::Error::invalid(&version, other, why));
        }
    }
    if let Some(size) = named.cache_size.filter(|_| named.api_version == "v2") {
        errors.push(field::Error::invalid(&at.child("cachesize"), size, "cachesize is not supported in v2"));
    }
    if errors.len() > before {
        return None;
    }
    let made = Kms::new(name, endpoint, timeout?);
    made.map_err(|why| {
        let why = format!("invalid endpoint for kms provider, error: {why}");
        errors.push(field::Error::invalid(&at.child("endpoint"), endpoint, &why));
    })
    .ok()
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
