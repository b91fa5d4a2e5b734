//! What the other encoder shows of a message: its own names of fields with what it holds in each, as a tree, and how that tree differs
//! from an object in JSON. Shared with the conformance suite of the API server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Reads what `{:?}` prints of a prost message: `Pod { metadata: Some(ObjectMeta { name: Some("x"), .. }) }`.
pub(super) fn parse(text: &str) -> Value {
    let mut reader = Reader { rest: text };
    let value = reader.value();
    assert!(reader.rest.is_empty(), "not understood: {:.80}", reader.rest);
    value
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self, text: &str) -> bool {
        let found = self.rest.trim_start().strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> String {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && !"_#-+.".contains(c)).unwrap_or(text.len());
        self.rest = &text[end..];
        text[..end].trim_start_matches("r#").to_owned()
    }

    /// A literal of Rust.
    fn text(&mut self) -> String {
        let (mut text, mut characters) = (String::new(), self.rest.char_indices());
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return text;
                }
                '\\' => match characters.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                    other => panic!("an escape that no test writes: {other:?}"),
                },
                c => text.push(c),
            }
        }
        panic!("a text without an end: {text}")
    }

    fn entries(&mut self, end: &str, mut one: impl FnMut(&mut Self)) {
        while !self.skip(end) {
            one(self);
            self.skip(",");
        }
    }

    fn value(&mut self) -> Value {
        if self.skip("\"") {
            return self.text().into();
        }
        if self.skip("[") {
            let mut items = Vec::new();
            self.entries("]", |reader| items.push(reader.value()));
            return items.into();
        }
        if self.skip("{") {
            return self.fields(|reader| if reader.skip("\"") { reader.text() } else { panic!("{:.80}", reader.rest) });
        }
        match self.word().as_str() {
            "None" => Value::Null,
            "true" => true.into(),
            "false" => false.into(),
            "Some" => {
                assert!(self.skip("("), "{:.80}", self.rest);
                let value = self.value();
                assert!(self.skip(")"), "{:.80}", self.rest);
                value
            }
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                serde_json::from_str(number).expect("a number")
            }
            _ if self.skip("{") => self.fields(Self::word),
            _ => json!({}),
        }
    }

    fn fields(&mut self, name: impl Fn(&mut Self) -> String) -> Value {
        let mut map = Map::new();
        self.entries("}", |reader| {
            let name = name(reader);
            assert!(reader.skip(":"), "{name} {:.80}", reader.rest);
            let value = reader.value();
            map.insert(name, value);
        });
        map.into()
    }
}

/// Names without what languages do to them.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether nothing is there, or what a message holds in place of nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

/// The fields that are shown, by plain name: messages that JSON has inline (`volumeSource`) are opened.
fn opened<'a>(meant: &Map<String, Value>, shown: &'a Map<String, Value>, all: &mut Vec<(String, &'a Value)>) {
    for (name, value) in shown {
        let is_meant = meant.keys().any(|key| plain(key) == plain(name));
        match value {
            Value::Object(inner) if !is_meant && !is_empty(value) => opened(meant, inner, all),
            _ => all.push((plain(name), value)),
        }
    }
}

/// Where the message is not what the JSON means. Of what is not there the path is named, with ` is lost`.
pub(super) fn differences(meant: &Value, shown: &Value, path: &str, wrong: &mut Vec<String>) {
    match (meant, shown) {
        (Value::Object(map), Value::Object(message)) if !message.contains_key("raw") => {
            if let Some(inner) = either(message) {
                return differences(meant, inner, path, wrong);
            }
            let mut fields = Vec::new();
            opened(map, message, &mut fields);
            for (name, meant) in map {
                let path = format!("{path}.{name}");
                match fields.iter().find(|(field, value)| *field == plain(name) && !is_empty(value)) {
                    Some((_, shown)) => differences(meant, shown, &path, wrong),
                    None if is_empty(meant) => {}
                    None => wrong.push(format!("{path} is lost")),
                }
            }
            for (field, value) in fields {
                if !is_empty(value) && !map.keys().any(|name| plain(name) == field) {
                    wrong.push(format!("{path}: {field} holds {value}"));
                }
            }
        }
        (Value::Array(meant), Value::Array(shown)) if meant.len() == shown.len() => {
            for (index, (meant, shown)) in meant.iter().zip(shown).enumerate() {
                differences(meant, shown, &format!("{path}[{index}]"), wrong);
            }
        }
        _ if is_meant(meant, shown) => {}
        // A list in a message of its own.
        (Value::Array(_), Value::Object(message)) if message.contains_key("items") => {
            differences(meant, &message["items"], path, wrong);
        }
        (_, Value::Object(message)) if either(message).is_some() => {
            differences(meant, either(message).unwrap_or(&Value::Null), path, wrong);
        }
        _ => wrong.push(format!("{path}: {meant} is shown as {shown}")),
    }
}

/// What is set of the two things that a field of a schema may be.
fn either(message: &Map<String, Value>) -> Option<&Value> {
    let other = ["allows", "json_schemas", "property"].into_iter().find(|name| message.contains_key(*name))?;
    let schema = message.get("schema").filter(|schema| !schema.is_null());
    (message.len() == 2).then(|| schema.unwrap_or_else(|| &message[other]))
}

/// Whether a value of JSON is what a message has in its place: types that JSON writes as text are messages.
fn is_meant(meant: &Value, shown: &Value) -> bool {
    let text = meant.as_str().unwrap_or_default();
    match shown {
        Value::Object(message) => {
            let int = |name: &str| message.get(name).and_then(Value::as_i64).unwrap_or_default();
            let is = |name: &str| message.contains_key(name);
            if is("raw") {
                let bytes = bytes(&message["raw"]).unwrap_or_default();
                return serde_json::from_slice::<Value>(&bytes).is_ok_and(|raw| raw == *meant);
            }
            if is("int_val") {
                return match int("type") {
                    0 => meant.as_i64() == Some(int("int_val")),
                    _ => meant == &message["str_val"],
                };
            }
            if is("seconds") {
                let time = text.parse::<Timestamp>().ok();
                return time.map(|t| (t.as_second(), i64::from(t.subsec_nanosecond())))
                    == Some((int("seconds"), int("nanos")));
            }
            is("string") && meant == &message["string"]
        }
        Value::Array(_) => bytes(shown).is_some_and(|shown| STANDARD.decode(text).is_ok_and(|meant| meant == shown)),
        Value::Number(number) if number.is_f64() => meant.as_f64() == number.as_f64(),
        _ => meant == shown,
    }
}

fn bytes(shown: &Value) -> Option<Vec<u8>> {
    shown.as_array()?.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}
