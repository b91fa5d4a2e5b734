//! JSON with duplicate keys found.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::syntax;
use crate::brief::{self, Complaints, PATH_BYTES_MAX};
use crate::status::Status;
use crate::{Object, Value};

/// Decodes a JSON body.
///
/// With `strict` the second result lists repeated keys in upstream's words (`duplicate field "spec.replicas"`), each once and no more
/// of them than upstream lists; the last one wins.
///
/// # Errors
/// 400 for what is not one JSON value, in Go's words; nesting beyond 128 levels is an error too. Go's bound is 10,000. Whatever
/// handles a value tree here recurses, and every reader of stored JSON has this bound too: an object that is deeper could be
/// stored, but not read again.
pub fn json(bytes: &[u8], strict: bool) -> Result<(Value, Vec<String>), Status> {
    let mut found = Duplicates::default();
    let value = parse(bytes, &mut found)?;
    if strict && found.any {
        // Paths cost time; they are only kept when there is something to report.
        found.paths = Some(Paths::default());
        parse(bytes, &mut found)?;
    }
    let warnings = found.paths.map(|p| p.found.list()).unwrap_or_default();
    Ok((value, warnings))
}

/// Complaints that are put in order at most, and the longest of them: finding them again takes time.
const ORDERED_MAX: usize = 64;
const ORDERED_BYTES_MAX: usize = PATH_BYTES_MAX + 64;

/// Complaints about fields of a body (`unknown field "a.b"`, `duplicate field "c"`) in the order in which these stand in it.
#[must_use]
pub fn in_order(bytes: &[u8], mut complaints: Vec<String>) -> Vec<String> {
    let longest = complaints.iter().map(String::len).max().unwrap_or(0);
    if complaints.len() < 2 || complaints.len() > ORDERED_MAX || longest > ORDERED_BYTES_MAX {
        return complaints;
    }
    let order = Order { waiting: std::mem::take(&mut complaints), met: Vec::new(), longest };
    let mut found = Duplicates { paths: Some(Paths::default()), order: Some(order), ..Duplicates::default() };
    // It was read before.
    drop(parse(bytes, &mut found));
    let Some(Order { waiting, mut met, .. }) = found.order else { return complaints };
    met.extend(waiting);
    met
}

fn parse(bytes: &[u8], found: &mut Duplicates) -> Result<Value, Status> {
    let refuse = |e: serde_json::Error| {
        let why = syntax::error(bytes).unwrap_or_else(|| {
            let text = e.to_string();
            if text.starts_with("recursion limit exceeded") { "exceeded max depth".to_owned() } else { text }
        });
        Status::bad_request(format!("couldn't get version/kind; json parse error: {why}"))
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree(found).deserialize(&mut reader).map_err(refuse)?;
    reader.end().map_err(refuse)?;
    Ok(value)
}

#[derive(Default)]
struct Duplicates {
    any: bool,
    paths: Option<Paths>,
    order: Option<Order>,
}

/// Complaints whose fields were not met yet, and those whose were.
struct Order {
    waiting: Vec<String>,
    met: Vec<String>,
    longest: usize,
}

#[derive(Default)]
struct Paths {
    at: Vec<String>,
    found: Complaints,
}

impl Paths {
    /// The place where it stands, without the point before its first field.
    fn path(&self) -> String {
        let mut path = brief::Path::default();
        for (depth, segment) in self.at.iter().enumerate() {
            path.push(if depth == 0 { segment.trim_start_matches('.') } else { segment });
        }
        path.text()
    }
}

impl Duplicates {
    /// Where it stands, as long as something is looked for.
    fn place(&mut self) -> Option<&mut Paths> {
        self.paths.as_mut().filter(|paths| !paths.found.is_full())
    }

    fn enter(&mut self, segment: impl FnOnce() -> String) {
        if let Some(paths) = self.place() {
            paths.at.push(segment());
        }
    }

    fn leave(&mut self) {
        if let Some(paths) = self.place() {
            paths.at.pop();
        }
    }

    /// Looks whether one of the complaints is about the field that begins here.
    fn meet(&mut self, again: bool) {
        let (Some(order), Some(paths)) = (&mut self.order, &self.paths) else { return };
        if order.waiting.is_empty() || paths.at.iter().map(String::len).sum::<usize>() > order.longest {
            return;
        }
        let what = if again { "duplicate" } else { "unknown" };
        let text = format!("{what} field \"{}\"", paths.path());
        if let Some(at) = order.waiting.iter().position(|complaint| *complaint == text) {
            order.met.push(order.waiting.remove(at));
        }
    }

    /// Notes that the place where it stands was set before.
    fn note(&mut self) {
        self.any = true;
        if let Some(paths) = self.place() {
            let text = format!("duplicate field \"{}\"", paths.path());
            paths.found.add(text);
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
            self.0.meet(object.contains_key(&key));
            let value = map.next_value_seed(Tree(self.0))?;
            if object.insert(key, value).is_some() && self.0.order.is_none() {
                self.0.note();
            }
            self.0.leave();
        }
        Ok(Value::Object(object))
    }
}
