//! What was found and what should be: shown where they differ, and no more.
//!
//! Tables that are written down: what was found must be what stands there, line by line.

use std::collections::BTreeSet;

use serde_json::Value;

/// Where two trees differ, with what is there in each.
pub(crate) fn differences(found: &Value, expected: &Value, at: &str, all: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(a, b, &format!("{at}/{key}"), all);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{at}/{index}"), all);
            }
        }
        _ if found == expected => {}
        _ => all.push(format!("{at}: {found} instead of {expected}")),
    }
}

/// The lines that are missing in `known` (`+`), and those that are too many (`-`). Lines that begin with `#` are for people.
pub(crate) fn changed(found: &[String], known: &str) -> Vec<String> {
    let known: Vec<&str> = known.lines().filter(|line| !line.starts_with('#')).collect();
    let missing = found.iter().filter(|line| !known.contains(&line.as_str())).map(|line| format!("+{line}"));
    let extra = known.iter().filter(|line| found.iter().all(|found| found != *line)).map(|line| format!("-{line}"));
    missing.chain(extra).collect()
}
