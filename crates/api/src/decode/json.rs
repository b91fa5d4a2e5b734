//! JSON with duplicate keys found.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::status::Status;
use crate::{Object, Value};

/// Decodes a JSON body.
///
/// With `strict` the second result lists repeated keys in upstream's words (`duplicate field "spec.replicas"`); the last one wins.
///
/// # Errors
/// 400 for what is not one JSON value, with line and column; nesting beyond 128 levels is an error too.
pub fn json(bytes: &[u8], strict: bool) -> Result<(Value, Vec<String>), Status> {
    let mut found = Duplicates { any: false, paths: None };
    let value = parse(bytes, &mut found)?;
    if strict && found.any {
        // Paths cost time; they are only kept when there is something to report.
        found.paths = Some(Paths::default());
        parse(bytes, &mut found)?;
    }
    let warnings = found.paths.map(|p| p.found).unwrap_or_default();
    Ok((value, warnings))
}

fn parse(bytes: &[u8], found: &mut Duplicates) -> Result<Value, Status> {
    let refuse =
        |e: serde_json::Error| Status::bad_request(format!("couldn't get version/kind; json parse error: {e}"));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree(found).deserialize(&mut reader).map_err(refuse)?;
    reader.end().map_err(refuse)?;
    Ok(value)
}

struct Duplicates {
    any: bool,
    paths: Option<Paths>,
}

#[derive(Default)]
struct Paths {
    at: Vec<String>,
    found: Vec<String>,
}

impl Duplicates {
    fn enter(&mut self, segment: impl FnOnce() -> String) {
        if let Some(paths) = &mut self.paths {
            paths.at.push(segment());
        }
    }

    fn leave(&mut self) {
        if let Some(paths) = &mut self.paths {
            paths.at.pop();
        }
    }

    /// Notes that the place where it stands was set before.
    fn note(&mut self) {
        self.any = true;
        if let Some(paths) = &mut self.paths {
            let path = paths.at.concat();
            let text = format!("duplicate field \"{}\"", path.trim_start_matches('.'));
            if !paths.found.contains(&text) {
                paths.found.push(text);
            }
        }
    }
}

struct Tree<'a>(&'a mut Duplicates);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.0.enter(|| format!("[{}]", list.len()));
            let next = seq.next_element_seed(Tree(self.0))?;
            self.0.leave();
            match next {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.enter(|| format!(".{key}"));
            let value = map.next_value_seed(Tree(self.0))?;
            if object.insert(key, value).is_some() {
                self.0.note();
            }
            self.0.leave();
        }
        Ok(Value::Object(object))
    }
}
