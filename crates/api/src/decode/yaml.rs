//! YAML as kubectl reads it: YAML 1.1 octals, whole floats as integers, duplicate keys refused, aliases bounded.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned, UserMessageFormatter, alias_limits, budget, options};

use super::MAX_DEPTH;
use crate::Value;
use crate::brief::{PATH_BYTES_MAX, cut};
use crate::status::Status;

/// Aliases in one body; manifests use a handful.
const MAX_ALIASES: usize = 1_000;
/// Parser events that aliases may repeat, all together.
const MAX_REPLAYED: usize = 50_000;
/// Nodes after aliases are expanded: far above what a 3 MiB manifest holds.
const MAX_NODES: usize = 500_000;
/// Duplicate keys that are listed.
const MAX_DUPLICATES: usize = 32;

fn settings(duplicate_keys: DuplicateKeyPolicy) -> Options {
    options! {
        legacy_octal_numbers: true,
        duplicate_keys: duplicate_keys,
        with_snippet: false,
        alias_limits: alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        budget: budget! {
            max_aliases: MAX_ALIASES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
        },
    }
}

/// Decodes a YAML body of one document. Duplicate keys are errors here, so the second result is always empty.
///
/// # Errors
/// 400 with line and column.
pub fn yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let mut value: Value =
        serde_saphyr::from_slice_with_options(bytes, settings(DuplicateKeyPolicy::Error)).map_err(|e| refuse(&e))?;
    whole_numbers(&mut value);
    Ok((value, Vec::new()))
}

/// As [`yaml`], but of duplicate keys the last one wins; the second result lists them in upstream's words.
///
/// # Errors
/// 400 with line and column.
pub fn lenient(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let mut value: Value =
        serde_saphyr::from_slice_with_options(bytes, settings(DuplicateKeyPolicy::LastWins)).map_err(|e| refuse(&e))?;
    whole_numbers(&mut value);
    Ok((value, duplicates(bytes)?))
}

/// `line 10: key "paused" already set in map` for every key that stands twice, up to [`MAX_DUPLICATES`].
fn duplicates(bytes: &[u8]) -> Result<Vec<String>, Status> {
    let mut found = Vec::new();
    let settings = settings(DuplicateKeyPolicy::LastWins);
    serde_saphyr::with_deserializer_from_slice_with_options(bytes, settings, |reader| {
        Keys(&mut found).deserialize(reader)
    })
    .map_err(|e| refuse(&e))?;
    Ok(found)
}

/// Walks over a document and notes keys that were seen before in their map.
struct Keys<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Keys(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            if seen.contains(&key.value) && self.0.len() < MAX_DUPLICATES {
                let shown = cut(&key.value, PATH_BYTES_MAX);
                self.0.push(format!("line {line}: key {shown:?} already set in map"));
            }
            seen.insert(key.value);
            map.next_value_seed(Keys(self.0))?;
        }
        Ok(())
    }
}

/// Decodes every document of a manifest; empty documents are left out.
///
/// # Errors
/// 400 with line and column.
pub fn yaml_documents(text: &str) -> Result<Vec<Value>, Status> {
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, settings(DuplicateKeyPolicy::Error)).map_err(|e| refuse(&e))?;
    documents.retain(|d| !d.is_null());
    documents.iter_mut().for_each(whole_numbers);
    Ok(documents)
}

fn refuse(error: &serde_saphyr::Error) -> Status {
    // The parser's messages for users name line and column themselves.
    let text = error.render_with_formatter(&UserMessageFormatter);
    Status::bad_request(format!("error converting YAML to JSON: yaml: {text}"))
}

/// `8.0` is `8` in JSON made from YAML.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(n) => {
            if let (None, None, Some(f)) = (n.as_i64(), n.as_u64(), n.as_f64())
                && f.fract() == 0.0
                && f.abs() < 9e15
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = f as i64;
                *value = Value::from(whole);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
