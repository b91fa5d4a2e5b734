//! Elements of field paths in the notation of `fieldsV1`: `f:name`, `k:{…}` (list item by keys), `v:…` (set item), `i:…` (index).
//!
//! The canonical text of an element is what sets and stored entries compare by; this module makes it, orders and prints it.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::{Object, Value};

/// One element, read.
#[derive(Debug, PartialEq)]
enum Element<'e> {
    Field(&'e str),
    Key(Object),
    Item(Value),
    Index(i64),
}

/// Text that claims to be an element and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a field path element")]
pub(super) struct Malformed;

/// Reads an element; `None` for a kind of a later version, which upstream leaves out.
fn parse(text: &str) -> Result<Option<Element<'_>>, Malformed> {
    let Some((kind, rest)) = text.split_once(':') else { return Err(Malformed) };
    Ok(Some(match kind {
        "f" => Element::Field(rest),
        "k" => Element::Key(serde_json::from_str(rest).map_err(|_| Malformed)?),
        "v" => Element::Item(serde_json::from_str(rest).map_err(|_| Malformed)?),
        "i" => Element::Index(rest.parse().map_err(|_| Malformed)?),
        _ if kind.len() == 1 => return Ok(None),
        _ => return Err(Malformed),
    }))
}

/// The canonical text of an element that a client wrote; `None` for a kind that is not known.
pub(super) fn canonical(text: &str) -> Result<Option<String>, Malformed> {
    Ok(parse(text)?.map(|element| match element {
        Element::Field(name) => field(name),
        Element::Key(keys) => key(keys.iter().map(|(name, value)| (name.as_str(), value))),
        Element::Item(value) => item(&value),
        Element::Index(at) => format!("i:{at}"),
    }))
}

/// The element of a struct's field or a map's entry.
pub(super) fn field(name: &str) -> String {
    ["f:", name].concat()
}

/// The element of a list item with these keys, which are ordered by name.
pub(super) fn key<'k>(keys: impl IntoIterator<Item = (&'k str, &'k Value)>) -> String {
    let mut text = Vec::with_capacity(64);
    text.extend_from_slice(b"k:{");
    for (at, (name, value)) in keys.into_iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        json(name, &mut text);
        text.push(b':');
        json(value, &mut text);
    }
    text.push(b'}');
    String::from_utf8(text).expect("JSON is text")
}

pub(super) fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("names and values are JSON, and a Vec takes all bytes");
}

/// The element of an item of a set.
pub(super) fn item(value: &Value) -> String {
    format!("v:{value}")
}

/// The name of a field element.
pub(super) fn field_name(element: &str) -> Option<&str> {
    element.strip_prefix("f:")
}

/// As upstream prints it in paths: `.name`, `[name="x"]`, `[="x"]`, `[0]`.
pub(super) fn shown(element: &str) -> String {
    match parse(element) {
        Ok(Some(Element::Field(name))) => format!(".{name}"),
        Ok(Some(Element::Key(keys))) => {
            let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            format!("[{}]", pairs.join(","))
        }
        Ok(Some(Element::Item(value))) => format!("[={}]", text(&value)),
        Ok(Some(Element::Index(at))) => format!("[{at}]"),
        Ok(None) | Err(Malformed) => format!("[{element}]"),
    }
}

/// A value as upstream prints it in paths.
fn text(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut out = String::from("{");
            for (name, value) in map {
                let _ = write!(out, "{}{name}={}", if out.len() > 1 { ";" } else { "" }, text(value));
            }
            out + "}"
        }
        scalar => scalar.to_string(),
    }
}

/// Upstream's order: fields, keys, set items, indexes; each by its value.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    use Element::{Field, Index, Item, Key};
    let rank = |e: &Element<'_>| match e {
        Field(_) => 0,
        Key(_) => 1,
        Item(_) => 2,
        Index(_) => 3,
    };
    match (parse(a), parse(b)) {
        (Ok(Some(Field(a))), Ok(Some(Field(b)))) => a.cmp(b),
        (Ok(Some(Key(a))), Ok(Some(Key(b)))) => entries(&a, &b),
        (Ok(Some(Item(a))), Ok(Some(Item(b)))) => values(&a, &b),
        (Ok(Some(Index(a))), Ok(Some(Index(b)))) => a.cmp(&b),
        (Ok(Some(a)), Ok(Some(b))) => rank(&a).cmp(&rank(&b)),
        _ => a.cmp(b),
    }
}

fn entries(a: &Object, b: &Object) -> Ordering {
    let pairs = a.iter().zip(b);
    let differing = pairs.map(|((n, v), (m, w))| n.cmp(m).then_with(|| values(v, w))).find(|o| o.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Numbers, strings, booleans, lists, maps, null.
fn values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let differing = a.iter().zip(b).map(|(v, w)| values(v, w)).find(|o| o.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => entries(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_brought_to_one_form_and_printed() {
        let check = |given: &str, expected: Option<&str>, printed: &str| {
            assert_eq!(canonical(given), Ok(expected.map(str::to_owned)), "{given}");
            assert_eq!(shown(given), printed, "{given}");
        };
        check("f:a", Some("f:a"), ".a");
        check("f:", Some("f:"), ".");
        check("f:a:b.c/d", Some("f:a:b.c/d"), ".a:b.c/d");
        let ports = "k:{\"containerPort\":80,\"protocol\":\"TCP\"}";
        check(ports, Some(ports), "[containerPort=80,protocol=\"TCP\"]");
        check("k:{ \"protocol\": \"TCP\", \"containerPort\": 80 }", Some(ports), "[containerPort=80,protocol=\"TCP\"]");
        check("v:\"\\u0061\"", Some("v:\"a\""), "[=\"a\"]");
        check("v:{\"a\":[1,true],\"b\":null}", Some("v:{\"a\":[1,true],\"b\":null}"), "[={a=[1,true];b=null}]");
        check("i:07", Some("i:7"), "[7]");
        check("x:later", None, "[x:later]");
        for malformed in ["", "a", "k:[]", "k:x", "v:", "i:x", "."] {
            assert_eq!(canonical(malformed), Err(Malformed), "{malformed}");
        }
    }

    #[test]
    fn the_order_is_upstreams() {
        let sorted = [
            "f:a",
            "f:b",
            "k:{\"containerPort\":80}",
            "k:{\"containerPort\":443}",
            "k:{\"containerPort\":443,\"protocol\":\"TCP\"}",
            "k:{\"name\":\"a\"}",
            "v:2",
            "v:10",
            "v:10.5",
            "v:\"a\"",
            "v:true",
            "v:[1]",
            "v:[1,2]",
            "v:{\"a\":1}",
            "v:null",
            "i:2",
            "i:10",
        ];
        let mut shuffled: Vec<&str> = sorted.iter().rev().copied().collect();
        shuffled.sort_by(|a, b| order(a, b));
        assert_eq!(shuffled, sorted);
    }
}
