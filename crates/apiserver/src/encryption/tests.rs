use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_store::{Form, KeyValue};

use super::Keyring;

mod plugin;
mod vectors;

/// A configuration with one rule; `providers` are (provider, key name, key bytes); identity has no key.
fn configuration(resources: &str, providers: &[(&str, &str, usize)]) -> String {
    let mut text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [{resources}]\n  providers:\n"
    );
    for (provider, name, bytes) in providers {
        let secret = STANDARD.encode((0..=255).take(*bytes).collect::<Vec<u8>>());
        text += &match *provider {
            "identity" => "  - identity: {}\n".to_owned(),
            provider => format!("  - {provider}: {{keys: [{{name: {name}, secret: {secret}}}]}}\n"),
        };
    }
    text
}

fn keyring(resources: &str, providers: &[(&str, &str, usize)]) -> Keyring {
    Keyring::parse(configuration(resources, providers).as_bytes()).expect("a configuration")
}

/// What a stored value is read as.
fn read(keyring: &Keyring, key: &str, stored: &[u8]) -> (String, Form) {
    let mut kv = KeyValue {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(stored),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: 0,
        form: Form::Current,
    };
    keyring.open(&mut kv, key, key.as_bytes());
    (String::from_utf8_lossy(&kv.value).into_owned(), kv.form)
}

fn unreadable(reason: &str) -> (String, Form) {
    (String::new(), Form::Unreadable(reason.into()))
}

#[test]
fn values_of_another_implementation_are_read() {
    for (provider, bytes, stored) in vectors::STORED {
        let stored = STANDARD.decode(stored).expect("base64");
        let keyring = keyring("secrets", &[(provider, &format!("k{bytes}"), *bytes)]);
        let plain = (vectors::PLAIN.to_owned(), Form::Current);
        assert_eq!(read(&keyring, vectors::PLACE, &stored), plain, "{provider} {bytes}");
    }
}

#[test]
fn what_is_written_is_read_again_and_is_not_the_plain_text() {
    let plain = Bytes::from(vectors::PLAIN);
    for (provider, bytes) in [
        ("aesgcm", 16),
        ("aesgcm", 24),
        ("aesgcm", 32),
        ("aescbc", 16),
        ("aescbc", 24),
        ("aescbc", 32),
        ("secretbox", 32),
    ] {
        let keyring = keyring("secrets", &[(provider, "one", bytes)]);
        let seal = || keyring.seal(vectors::PLACE, vectors::PLACE.as_bytes(), plain.clone()).expect("sealed");
        let stored = seal();
        assert!(stored.starts_with(format!("k8s:enc:{provider}:v1:one:").as_bytes()));
        assert!(!stored.windows(6).any(|w| w == b"Opaque"), "{provider}");
        assert_ne!(stored, seal(), "the nonce is new every time");
        assert_eq!(read(&keyring, vectors::PLACE, &stored), (vectors::PLAIN.to_owned(), Form::Current));
        for cut in [0, 30, stored.len() - 1] {
            let (text, form) = read(&keyring, vectors::PLACE, &stored[..cut]);
            assert!(text.is_empty() && matches!(form, Form::Unreadable(_)), "{provider} cut to {cut}");
        }
    }
}

#[test]
fn a_value_that_was_copied_to_another_key_is_not_read() {
    let keyring = keyring("secrets", &[("aesgcm", "k32", 32)]);
    let stored = STANDARD.decode(vectors::STORED[2].2).expect("base64");
    let moved = read(&keyring, "/registry/secrets/default/other", &stored);
    assert_eq!(moved, unreadable("cipher: message authentication failed"));
}

#[test]
fn the_first_provider_writes_and_what_another_wrote_is_stale() {
    let gcm = STANDARD.decode(vectors::STORED[2].2).expect("base64");
    let both = keyring("secrets", &[("secretbox", "new", 32), ("aesgcm", "k32", 32), ("identity", "", 0)]);
    let stale = (vectors::PLAIN.to_owned(), Form::Stale);
    assert_eq!(read(&both, vectors::PLACE, &gcm), stale);
    assert_eq!(read(&both, vectors::PLACE, vectors::PLAIN.as_bytes()), stale, "plain text is stale too");
    let leaving = keyring("secrets", &[("identity", "", 0), ("aesgcm", "k32", 32)]);
    assert_eq!(read(&leaving, vectors::PLACE, &gcm), stale, "identity leaves encrypted values to the next provider");
    let sealed = leaving.seal(vectors::PLACE, b"", Bytes::from("plain")).expect("sealed");
    assert_eq!(sealed, "plain");
}

#[test]
fn a_value_that_cannot_be_read_says_why() {
    let gcm = STANDARD.decode(vectors::STORED[2].2).expect("base64");
    let check = |providers: &[(&str, &str, usize)], reason: &str| {
        assert_eq!(read(&keyring("secrets", providers), vectors::PLACE, &gcm), unreadable(reason), "{providers:?}");
    };
    check(&[("aesgcm", "k32", 16)], "cipher: message authentication failed");
    check(&[("aesgcm", "other", 32)], "no matching key was found for the provided AES transformer");
    check(&[("secretbox", "k32", 32)], "no matching prefix found");
    check(&[("identity", "", 0)], "no matching prefix found");
    let others = keyring("configmaps", &[("aesgcm", "k32", 32)]);
    assert_eq!(read(&others, vectors::PLACE, &gcm), unreadable("identity transformer tried to read encrypted data"));
    let strict = keyring("secrets", &[("aesgcm", "k32", 32)]);
    assert_eq!(read(&strict, vectors::PLACE, b"{}"), unreadable("no matching prefix found"));
}

#[test]
fn rules_name_resources() {
    let sealed = |resources: &str, key: &str| {
        let keyring = keyring(resources, &[("aesgcm", "k", 32)]);
        keyring.seal(key, key.as_bytes(), Bytes::from("plain")).expect("sealed") != "plain"
    };
    let check = |resources: &str, key: &str, expected: bool| {
        assert_eq!(sealed(resources, key), expected, "{key} under {resources}");
    };
    check("secrets", "/registry/secrets/a/b", true);
    check("secrets", "/registry/configmaps/a/b", false);
    check("secrets", "/registry/secretsomething/a/b", false);
    check("'*.'", "/registry/services/specs/a/b", true);
    check("'*.'", "/registry/deployments/a/b", false);
    check("'*.apps'", "/registry/deployments/a/b", true);
    check("deployments.apps", "/registry/deployments/a/b", true);
    check("events", "/registry/events/a/b", true);
    check("widgets.example.com", "/registry/example.com/widgets/a/b", true);
    check("'*.*'", "/registry/example.com/widgets/a/b", true);
    check("'*.*'", "/registry/leases/a/b", true);
    for key in
        ["/registry/ranges/servicenodeports", "/registry/gantry.dev/fences/a/b", "/registry/masterleases/1.2.3.4"]
    {
        check("'*.*'", key, false);
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_without_the_secret() {
    let check = |text: &str, expected: &str| {
        let error = Keyring::parse(text.as_bytes()).err().unwrap_or_default();
        assert!(error.contains(expected), "{text}\n{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    };
    let rules = |resources: &str, providers: &str| {
        format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{{resources: [{resources}], providers: [{providers}]}}]}}"
        )
    };
    check("{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration}", "resources: Required value");
    check("{apiVersion: v1, kind: Secret}", "got unexpected config type");
    check(&rules("", "identity: {}"), "resources[0].resources: Required value");
    check(&rules("secrets", ""), "resources[0].providers: Required value");
    check(&rules("secrets", "{}"), "provider does not contain any of the expected providers");
    check(&rules("secrets", "{identity: {}, aesgcm: {}}"), "more than one provider specified");
    check(&rules("secrets", "{aesgcm: {keys: []}}"), "aesgcm.keys: Required value: at least one keys is required");
    check(
        &rules("secrets", "{aesgcm: {keys: [{name: a, secret: c2VjcmV0}]}}"),
        "secret is not of the expected length, got 6, expected one of [16 24 32]",
    );
    check(&rules("secrets", "{secretbox: {keys: [{name: a, secret: '!c2VjcmV0'}]}}"), "secrets must be base64 encoded");
    check(&rules("secrets", "{aescbc: {keys: [{secret: c2VjcmV0}]}}"), "name is a mandatory field for a key");
    check(&rules("secrets, secrets", "{identity: {}}"), "the same resource cannot be specified multiple times");
    check(&rules("secrets, '*.'", "{identity: {}}"), "using overlapping resources");
    check(&rules("'*'", "{identity: {}}"), "use '*.' to encrypt all the resources from core API group");
    check(&rules("Secrets", "{identity: {}}"), "resource name should not contain capital letters");
    check(&rules("pods.events.k8s.io", "{identity: {}}"), "Use 'events' instead in the config file");
    check(&rules("pods.*", "{identity: {}}"), "encrypting the same resource across groups is not supported");
    check(&rules("serviceipallocations", "{identity: {}}"), "resources which do not have REST API/s");
    check(&rules("secrets", "{unknown: {}}"), "unknown field");
    let masked = "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{resources: ['*.'], providers: [{identity: {}}]}, {resources: [secrets], providers: [{identity: {}}]}]}";
    check(masked, "resource \"secrets\" is masked by earlier rule \"*.\"");
}
