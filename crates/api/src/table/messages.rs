//! Protobuf messages of the API, joined to the type table: which field number is which JSON field.
//!
//! Messages and JSON types differ in two ways. Go structs embedded inline are nested messages on the wire (`Volume.volumeSource`);
//! a nested message whose name is no JSON field of the type is therefore *inline*. And some protobuf names are spelled differently
//! (`uID`, `aPIGroup`, `xKubernetesListType`); they are matched by their letters.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Type, TypeTable};

const FACTS: &str = include_str!("../../facts/protobuf.tsv");

/// Index of a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId(u16);

/// How the bytes of a field are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// UTF-8.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A varint 0 or 1.
    Bool,
    /// A varint.
    Int32,
    /// A varint.
    Int64,
    /// Eight bytes, little endian.
    Double,
    /// `{seconds, nanos}` to RFC 3339 with seconds.
    Time,
    /// `{seconds, nanos}` to RFC 3339 with microseconds.
    MicroTime,
    /// `{duration}` in nanoseconds to Go's notation.
    Duration,
    /// `{string}`.
    Quantity,
    /// `{type, intVal, strVal}`.
    IntOrString,
    /// `{raw}` holding JSON.
    Raw,
    /// `{items}`: a list of strings.
    Strings,
    /// `{schema, jSONSchemas | property | allows}` of custom resource definitions.
    SchemaOr(MessageId),
    /// A message.
    Message(MessageId),
    /// Entries `{1: key, 2: value}` with string keys.
    Map(Box<Wire>),
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtoField {
    /// The number on the wire.
    pub number: u32,
    /// The JSON name.
    pub json: &'static str,
    /// How to read it.
    pub wire: Wire,
    /// Whether it is a list.
    pub repeated: bool,
    /// Whether its fields belong to the parent object.
    pub inline: bool,
    /// Its place among the fields of the message and of the structure in Go, which is not that of its number.
    pub place: usize,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// `core/v1.Pod`.
    pub name: String,
    /// By number.
    pub fields: Vec<ProtoField>,
}

impl Message {
    /// The field with `number`.
    #[must_use]
    pub fn field(&self, number: u32) -> Option<&ProtoField> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok().map(|at| &self.fields[at])
    }
}

/// All messages.
#[derive(Debug)]
pub struct Messages {
    list: Vec<Message>,
    by_name: HashMap<String, MessageId>,
}

impl Messages {
    /// The messages of the built-in API.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static MESSAGES: OnceLock<Messages> = OnceLock::new();
        MESSAGES.get_or_init(build)
    }

    /// The message of type `name` (`core/v1.Pod`).
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Message> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The message behind an index.
    #[must_use]
    pub fn get(&self, id: MessageId) -> &Message {
        &self.list[usize::from(id.0)]
    }
}

/// `core/v1.Pod` for package `k8s.io.api.core.v1` and message `Pod`.
fn type_name(package: &str, message: &str) -> String {
    let mut parts = package.rsplit('.');
    let last = parts.next().unwrap_or_default();
    if last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit()) {
        format!("{}/{last}.{message}", parts.next().unwrap_or_default())
    } else {
        format!("{last}/{message}")
    }
}

/// Lines of the facts, split.
fn rows() -> impl Iterator<Item = [&'static str; 6]> {
    FACTS.lines().skip(1).map(|line| {
        let mut cells = line.split('\t');
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    })
}

fn build() -> Messages {
    // Messages without fields have no row; the first entry stands for all of them.
    let mut list: Vec<Message> = vec![Message::default()];
    let mut by_name: HashMap<String, MessageId> = HashMap::new();
    // The rows of a message stand together.
    let mut last = ("", "");
    for [package, message, ..] in rows() {
        if last != (package, message) {
            last = (package, message);
            let name = type_name(package, message);
            let id = MessageId(u16::try_from(list.len()).expect("the facts hold some hundred messages"));
            by_name.insert(name.clone(), id);
            list.push(Message { name, fields: Vec::new() });
        }
    }
    let mut at = 0;
    for [package, message, number, field, ty, label] in rows() {
        let name = type_name(package, message);
        while list[at].name != name {
            at += 1;
        }
        let wire = wire(package, ty, &by_name);
        let (json, inline) = json_name(TypeTable::builtin().ty(&name), field, &wire);
        let number = number.parse().expect("field numbers are decimal");
        let place = list[at].fields.len();
        list[at].fields.push(ProtoField { number, json, wire, repeated: label == "repeated", inline, place });
    }
    for message in &mut list {
        message.fields.sort_by_key(|f| f.number);
    }
    Messages { list, by_name }
}

fn wire(package: &str, ty: &str, by_name: &HashMap<String, MessageId>) -> Wire {
    if let Some(value) = ty.strip_prefix("map<string, ").and_then(|t| t.strip_suffix('>')) {
        return Wire::Map(Box::new(wire(package, value, by_name)));
    }
    match ty {
        "string" => return Wire::String,
        "bytes" => return Wire::Bytes,
        "bool" => return Wire::Bool,
        "int32" => return Wire::Int32,
        "int64" => return Wire::Int64,
        "double" => return Wire::Double,
        _ => {}
    }
    let name = match ty.trim_start_matches('.').rsplit_once('.') {
        Some((package, message)) => type_name(package, message),
        None => type_name(package, ty),
    };
    match name.as_str() {
        "meta/v1.Time" | "meta/v1.Timestamp" => Wire::Time,
        "meta/v1.MicroTime" => Wire::MicroTime,
        "meta/v1.Duration" => Wire::Duration,
        "resource/Quantity" | "resource/QuantityValue" => Wire::Quantity,
        "intstr/IntOrString" => Wire::IntOrString,
        "runtime/RawExtension" | "meta/v1.FieldsV1" | "apiextensions/v1.JSON" => Wire::Raw,
        "meta/v1.Verbs" => Wire::Strings,
        n if n.ends_with(".ExtraValue") => Wire::Strings,
        n => {
            let id = by_name.get(n).copied().unwrap_or(MessageId(0));
            if n.starts_with("apiextensions/v1.JSONSchemaPropsOr") { Wire::SchemaOr(id) } else { Wire::Message(id) }
        }
    }
}

/// The JSON field behind a protobuf field, and whether it is inline.
fn json_name(ty: Option<&'static Type>, field: &'static str, wire: &Wire) -> (&'static str, bool) {
    let Some(ty) = ty else { return (field, false) };
    if ty.fields.contains_key(field) {
        return (field, false);
    }
    let letters = |s: &str| s.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted = letters(field);
    match ty.fields.keys().find(|name| letters(name) == wanted) {
        Some(name) => (name, false),
        None => (field, matches!(wire, Wire::Message(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_messages_and_odd_names_are_found() {
        let check = |message: &str, number: u32, json: &str, inline: bool| {
            let field = Messages::builtin().by_name(message).and_then(|m| m.field(number)).expect("known");
            assert_eq!((field.json, field.inline), (json, inline), "{message} {number}");
        };
        check("core/v1.Pod", 2, "spec", false);
        check("core/v1.Volume", 2, "volumeSource", true);
        check("core/v1.Probe", 1, "handler", true);
        check("core/v1.ConfigMapKeySelector", 1, "localObjectReference", true);
        check("authentication/v1.BoundObjectReference", 4, "uid", false);
        check("networking/v1.IngressClassParametersReference", 1, "apiGroup", false);
        check("apiextensions/v1.JSONSchemaProps", 2, "$schema", false);
    }

    #[test]
    fn only_inline_messages_lack_a_json_field() {
        for message in &Messages::builtin().list {
            let Some(ty) = TypeTable::builtin().ty(&message.name) else { continue };
            for field in message.fields.iter().filter(|f| !f.inline) {
                assert!(ty.fields.contains_key(field.json), "{} {}", message.name, field.json);
            }
        }
    }
}
