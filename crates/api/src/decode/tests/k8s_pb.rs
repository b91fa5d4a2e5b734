//! Field numbers and types against definitions that are not ours: what crate k8s-pb shows of our
//! messages, by its own names, is what the JSON says, and what it writes again still says the same.

mod known;
mod shown;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use self::known::table;
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

/// What objects within objects are is not in their messages.
const NAMELESS: &[&str] = &[".volumeClaimTemplates.apiVersion is lost", ".volumeClaimTemplates.kind is lost"];

/// Values that are in no other place: what stands in a wrong field is seen. Truth values are told apart by their places in `bools`.
#[derive(Default)]
struct Marker {
    count: i64,
    bools: Vec<String>,
}

impl Marker {
    fn mark(&mut self, value: &mut Value, path: &str) {
        self.count += 1;
        let count = self.count;
        match value {
            Value::String(text) => {
                let marked = match text.as_str() {
                    "text" => path.to_owned(),
                    "5Gi" => count.to_string(),
                    "50%" => format!("{count}%"),
                    "AQI=" => STANDARD.encode(count.to_be_bytes()),
                    "2026-01-02T03:04:05Z" => Timestamp::from_second(count).expect("a time").to_string(),
                    "2026-01-02T03:04:05.000006Z" => {
                        format!("{}.000006Z", Timestamp::from_second(count).expect("a time").strftime("%FT%T"))
                    }
                    _ => return,
                };
                *text = marked;
            }
            Value::Number(number) if number.is_i64() => *value = (1000 + count).into(),
            Value::Bool(_) => self.bools.push(path.to_owned()),
            Value::Object(map) => map.iter_mut().for_each(|(key, item)| self.mark(item, &format!("{path}/{key}"))),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mark(item, &format!("{path}/0"))),
            _ => {}
        }
    }
}

fn check(kind: &KindInfo, again: Again) -> BTreeSet<String> {
    let mut object = maximal(kind);
    let mut marker = Marker::default();
    marker.mark(&mut object, "");
    object["apiVersion"] = kind.api_version.as_str().into();
    object["kind"] = kind.kind.into();
    let mut wrong = Vec::new();
    let bits = usize::BITS - marker.bools.len().leading_zeros();
    for bit in 0..=bits {
        // Each two truth values differ in one of these objects.
        let mut object = object.clone();
        for (_, path) in marker.bools.iter().enumerate().filter(|(n, _)| bit < bits && n >> bit & 1 == 0) {
            let (holder, name) = path.rsplit_once('/').expect("a path");
            object.pointer_mut(holder).and_then(Value::as_object_mut).map(|holder| holder.remove(name));
        }
        compare(&object, again, &mut wrong);
    }
    let known = |w: &str| [NEWER, NAMELESS].concat().iter().any(|known| w.replace("[0]", "").ends_with(known));
    wrong.retain(|w| !known(w));
    wrong.into_iter().collect()
}

/// What the other encoder makes of an object: as it shows it, and as we read what it writes.
fn compare(object: &Value, again: Again, wrong: &mut Vec<String>) {
    let ours = encoded(object);
    let (head, body) = split(&ours);
    let (bytes, shown) = again(body);
    let mut meant = object.clone();
    meant.as_object_mut().expect("an object").retain(|name, _| name != "apiVersion" && name != "kind");
    shown::differences(&meant, &shown::parse(&shown), "", wrong);
    let mut whole = head.to_vec();
    prost::encoding::bytes::encode(2, &bytes, &mut whole);
    let read = protobuf(&whole).expect("readable");
    differences(&protobuf(&ours).expect("readable"), &read, "", wrong);
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
            None => wrong.push(format!("{} {} is not compared", kind.api_version, kind.kind)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
