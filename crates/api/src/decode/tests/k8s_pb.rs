//! Field numbers and types against definitions that are not ours: what crate k8s-pb reads and writes again still says the same.

mod known;

use std::collections::{BTreeMap, BTreeSet};

use self::known::{ABSENT, table};
use super::every_kind::{encoded, maximal};
use crate::Value;
use crate::decode::protobuf;
use crate::kinds::{self, KindInfo};

/// A message read and written again by the other encoder, and what it showed of it in between.
type Again = fn(&[u8]) -> (Vec<u8>, String);

fn again<T: prost::Message + Default + std::fmt::Debug>(bytes: &[u8]) -> (Vec<u8>, String) {
    let message = T::decode(bytes).expect("k8s-pb reads it");
    (message.encode_to_vec(), format!("{message:?}"))
}

/// Fields of 1.36 that the crate's definitions, of an earlier release, do not have.
const NEWER: &[&str] = &[
    ".schedulingGroup is lost",
    ".allocatedResourcesStatus.resources.message is lost",
    ".volumeMounts.volumeStatus is lost",
    ".nodeAllocatableResourceClaimStatuses is lost",
    ".preventPodSchedulingIfMissing is lost",
    ".bools is lost",
    ".ints is lost",
    ".strings is lost",
    ".versions is lost",
    ".nodeAllocatableResourceMappings is lost",
];

/// Text and numbers that say which field they stand in.
fn marked(value: &mut Value, name: &str, numbers: &mut BTreeMap<i64, String>) {
    match value {
        Value::String(text) if text == "text" => *value = name.into(),
        Value::Number(number) if number.as_i64() == Some(7) || number.as_i64() == Some(77) => {
            let found = numbers.iter().find(|(_, known)| *known == name).map(|(n, _)| *n);
            let number = found.unwrap_or_else(|| 1000 + i64::try_from(numbers.len()).expect("some hundred"));
            numbers.insert(number, name.to_owned());
            *value = number.into();
        }
        Value::Object(map) => map.iter_mut().for_each(|(key, item)| {
            // The key of a map's entry says nothing.
            let name = if key == "key" { name.to_owned() } else { key.clone() };
            marked(item, &name, numbers);
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| marked(item, name, numbers)),
        _ => {}
    }
}

/// Names without what languages do to them.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Where the other encoder shows `field: Some(content)` and the content says that it is another field's.
fn misplaced(shown: &str, numbers: &BTreeMap<i64, String>) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for (at, _) in shown.match_indices(": Some(") {
        let field = shown[..at].rsplit([' ', '{', '(']).next().unwrap_or_default();
        let content = shown[at + 7..].split(')').next().unwrap_or_default();
        let says = match content.strip_prefix('"') {
            Some(text) => text.trim_end_matches('"').to_owned(),
            None => content.parse().ok().and_then(|n| numbers.get(&n).cloned()).unwrap_or_default(),
        };
        let known = says.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && says.chars().all(|c| c.is_ascii_alphanumeric());
        // A map's entry stands under no name of a field.
        if known && field != "key" && plain(field.trim_start_matches("r#")) != plain(&says) {
            wrong.insert(format!("{field} holds {says}"));
        }
    }
    wrong
}

fn check(kind: &KindInfo, again: Again) -> Vec<String> {
    let mut object = maximal(kind);
    let mut numbers = BTreeMap::new();
    for (key, part) in object.as_object_mut().into_iter().flatten() {
        marked(part, &key.clone(), &mut numbers);
    }
    object["apiVersion"] = kind.api_version.as_str().into();
    object["kind"] = kind.kind.into();
    let ours = encoded(&object);
    let (head, body) = split(&ours);
    let (bytes, shown) = again(body);
    let mut whole = head.to_vec();
    prost::encoding::bytes::encode(2, &bytes, &mut whole);
    let read = protobuf(&whole).expect("readable");
    let mut wrong = Vec::new();
    differences(&protobuf(&ours).expect("readable"), &read, "", &mut wrong);
    wrong.extend(misplaced(&shown, &numbers));
    wrong.retain(|w| !NEWER.iter().any(|newer| w.ends_with(newer)));
    wrong
}

/// Where two trees differ; of what one lacks only the top is named.
fn differences(a: &Value, b: &Value, path: &str, wrong: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(a, b, &path, wrong),
                    (a, _) => wrong.push(format!("{path} is {}", if a.is_some() { "lost" } else { "new" })),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| differences(a, b, path, wrong));
        }
        _ if a == b => {}
        _ => wrong.push(format!("{path}: {a} != {b}")),
    }
}

/// The envelope up to the object's message, and the message.
fn split(encoded: &[u8]) -> (&[u8], &[u8]) {
    // `k8s\0`, then field 1 (shorter than 128 bytes), then field 2 with a length of one to three bytes.
    let first = 6 + usize::from(encoded[5]);
    let length = encoded[first + 1..].iter().take_while(|b| **b >= 0x80).count() + 1;
    (&encoded[..first], &encoded[first + 1 + length..])
}

#[test]
fn the_other_encoder_has_every_field_under_the_same_number() {
    let table = table();
    let mut wrong = Vec::new();
    for kind in kinds::all().iter().filter(|k| !k.computed()) {
        match table.get(&(kind.group, kind.version, kind.kind)) {
            Some(again) => {
                wrong.extend(check(kind, *again).iter().map(|w| format!("{} {}: {w}", kind.api_version, kind.kind)))
            }
            None if ABSENT.contains(&kind.kind) => {}
            None => wrong.push(format!("{} {} is not compared", kind.api_version, kind.kind)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
