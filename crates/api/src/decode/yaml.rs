//! YAML as kubectl reads it: YAML 1.1 octals, whole floats as integers, duplicate keys refused, aliases bounded.

use serde_saphyr::{DuplicateKeyPolicy, Options, UserMessageFormatter, alias_limits, budget, options};

use super::MAX_DEPTH;
use crate::Value;
use crate::status::Status;

/// Aliases in one body; manifests use a handful.
const MAX_ALIASES: usize = 1_000;
/// Parser events that aliases may repeat, all together.
const MAX_REPLAYED: usize = 50_000;
/// Nodes after aliases are expanded: far above what a 3 MiB manifest holds.
const MAX_NODES: usize = 500_000;

fn settings() -> Options {
    options! {
        legacy_octal_numbers: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
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
    let mut value: Value = serde_saphyr::from_slice_with_options(bytes, settings()).map_err(|e| refuse(&e))?;
    whole_numbers(&mut value);
    Ok((value, Vec::new()))
}

/// Decodes every document of a manifest; empty documents are left out.
///
/// # Errors
/// 400 with line and column.
pub fn yaml_documents(text: &str) -> Result<Vec<Value>, Status> {
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, settings()).map_err(|e| refuse(&e))?;
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
