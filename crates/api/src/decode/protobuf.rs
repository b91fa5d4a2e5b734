//! Kubernetes protobuf bodies, read with the message table alone: no generated code, one reader for every kind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::scalars::{micro_time, time};
use super::{MAX_DEPTH, conform};
use crate::convert::older;
use crate::kinds::split_api_version;
use crate::status::Status;
use crate::table::TypeTable;
use crate::table::messages::{Message, Messages, ProtoField, Wire};
use crate::{Object, Value, duration, kinds};

/// The four bytes before every Kubernetes protobuf body.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// Decodes a `runtime.Unknown` envelope and the object in it, conformed to its type.
///
/// # Errors
/// 400 for a body that is cut off, too deep, or of a kind that the table does not know.
pub fn protobuf(bytes: &[u8]) -> Result<Value, Status> {
    read(bytes, type_name)
}

/// The same for a value from the store, which may also be of a version that is served no longer (`convert::older`).
///
/// # Errors
/// As for [`protobuf`].
pub fn stored_protobuf(bytes: &[u8]) -> Result<Value, Status> {
    read(bytes, |api_version, kind| match older::read_as(api_version, kind) {
        Some(current) => type_name(&current, kind),
        None => type_name(api_version, kind),
    })
}

fn read(bytes: &[u8], type_name: impl Fn(&str, &str) -> String) -> Result<Value, Status> {
    let refuse = |why: &str| Status::bad_request(format!("unable to decode the protobuf body: {why}"));
    let body = bytes.strip_prefix(&MAGIC).ok_or_else(|| refuse("it does not begin with the Kubernetes magic"))?;
    let envelope = Envelope::read(body).map_err(refuse)?;
    if !envelope.content_type.is_empty() && envelope.content_type != "application/vnd.kubernetes.protobuf" {
        return Err(refuse(&format!("content type {:?} inside the envelope", envelope.content_type)));
    }
    let name = type_name(envelope.api_version, envelope.kind);
    let message = Messages::builtin().by_name(&name).ok_or_else(|| {
        Status::bad_request(format!(
            "no kind \"{}\" is registered for version \"{}\"",
            envelope.kind, envelope.api_version
        ))
    })?;
    let mut object = read_message(message, envelope.raw, 0).map_err(refuse)?;
    object.insert("kind".to_owned(), Value::from(envelope.kind));
    object.insert("apiVersion".to_owned(), Value::from(envelope.api_version));
    let mut value = Value::Object(object);
    if TypeTable::builtin().ty(&name).is_some() {
        conform(&mut value, &name)?;
    }
    Ok(value)
}

/// The table's name for a kind; the kinds that every group has belong to meta whatever group they are sent in.
pub(crate) fn type_name(api_version: &str, kind: &str) -> String {
    let (group, version) = split_api_version(api_version);
    if matches!(kind, "DeleteOptions" | "Status" | "APIVersions" | "APIGroupList" | "APIGroup" | "APIResourceList") {
        return format!("meta/v1.{kind}");
    }
    kinds::type_name(group, version, kind)
}

struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_type: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut found = Self { api_version: "", kind: "", raw: &[], content_type: "" };
        let mut reader = Reader(bytes);
        while let Some((number, data)) = reader.next()? {
            match (number, data) {
                (1, Data::Bytes(meta)) => {
                    let mut reader = Reader(meta);
                    while let Some((number, data)) = reader.next()? {
                        match (number, data) {
                            (1, Data::Bytes(b)) => found.api_version = text(b)?,
                            (2, Data::Bytes(b)) => found.kind = text(b)?,
                            _ => {}
                        }
                    }
                }
                (2, Data::Bytes(raw)) => found.raw = raw,
                (3, Data::Bytes(encoding)) if !encoding.is_empty() => {
                    return Err("a content encoding is not supported");
                }
                (4, Data::Bytes(b)) => found.content_type = text(b)?,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// One field as it stands on the wire.
enum Data<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Walks the fields of a message.
struct Reader<'a>(&'a [u8]);

const SHORT: &str = "it ends in the middle of a field";

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than ten bytes")
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    fn next(&mut self) -> Result<Option<(u32, Data<'a>)>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| "a field number is out of range")?;
        let data = match tag & 7 {
            0 => Data::Varint(self.varint()?),
            1 => Data::Fixed(little_endian(self.take(8)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
                Data::Bytes(self.take(length)?)
            }
            5 => Data::Fixed(little_endian(self.take(4)?)),
            _ => return Err("a field has an unknown wire type"),
        };
        Ok(Some((number, data)))
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")
}

fn read_message(message: &Message, bytes: &[u8], depth: usize) -> Result<Object, &'static str> {
    let mut object = Object::new();
    read_into(&mut object, message, bytes, depth)?;
    Ok(object)
}

fn read_into(object: &mut Object, message: &Message, bytes: &[u8], depth: usize) -> Result<(), &'static str> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply");
    }
    let mut reader = Reader(bytes);
    while let Some((number, data)) = reader.next()? {
        let Some(field) = message.field(number) else { continue };
        match (&field.wire, data) {
            (Wire::Message(id), Data::Bytes(inner)) if field.inline => {
                read_into(object, Messages::builtin().get(*id), inner, depth + 1)?;
            }
            (Wire::Map(item), Data::Bytes(entry)) => {
                let slot = object.entry(field.json).or_insert_with(|| Value::Object(Object::new()));
                if let Value::Object(map) = slot {
                    read_entry(map, item, entry, depth + 1)?;
                }
            }
            (_, data) if field.repeated => {
                let slot = object.entry(field.json).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = slot {
                    read_repeated(list, field, data, depth + 1)?;
                }
            }
            (wire, data) => {
                let value = match (wire, data, field.json) {
                    (Wire::Raw, Data::Bytes(bytes), "fieldsV1") => managed_fields(bytes)?,
                    (wire, data, _) => read_value(wire, data, depth + 1)?,
                };
                object.insert(field.json.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn read_entry(map: &mut Object, item: &Wire, bytes: &[u8], depth: usize) -> Result<(), &'static str> {
    let (mut key, mut value) = ("", None);
    let mut reader = Reader(bytes);
    while let Some((number, data)) = reader.next()? {
        match (number, data) {
            (1, Data::Bytes(b)) => key = text(b)?,
            (2, data) => value = Some(read_value(item, data, depth)?),
            _ => {}
        }
    }
    map.insert(key.to_owned(), value.unwrap_or(Value::Null));
    Ok(())
}

fn read_repeated(list: &mut Vec<Value>, field: &ProtoField, data: Data<'_>, depth: usize) -> Result<(), &'static str> {
    let packed = matches!(field.wire, Wire::Int32 | Wire::Int64 | Wire::Bool);
    match data {
        Data::Bytes(bytes) if packed => {
            let mut reader = Reader(bytes);
            while !reader.0.is_empty() {
                let n = reader.varint()?;
                list.push(read_value(&field.wire, Data::Varint(n), depth)?);
            }
        }
        data => list.push(read_value(&field.wire, data, depth)?),
    }
    Ok(())
}

/// A number as Go writes it: whole ones (up to where both forms mean the same) have no fraction.
#[allow(clippy::cast_possible_truncation, reason = "within what both forms hold exactly")]
fn double(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT { (number as i64).into() } else { number.into() }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "protobuf integers are two's complement varints"
)]
fn read_value(wire: &Wire, data: Data<'_>, depth: usize) -> Result<Value, &'static str> {
    Ok(match (wire, data) {
        (Wire::String, Data::Bytes(b)) => Value::from(text(b)?),
        (Wire::Bytes, Data::Bytes(b)) => Value::from(STANDARD.encode(b)),
        (Wire::Bool, Data::Varint(n)) => Value::from(n != 0),
        (Wire::Int32, Data::Varint(n)) => Value::from(n as i32),
        (Wire::Int64, Data::Varint(n)) => Value::from(n as i64),
        (Wire::Double, Data::Fixed(n)) => double(f64::from_bits(n)),
        (Wire::Message(id), Data::Bytes(b)) => Value::Object(read_message(Messages::builtin().get(*id), b, depth)?),
        (Wire::SchemaOr(id), Data::Bytes(b)) => schema_or(read_message(Messages::builtin().get(*id), b, depth)?),
        (Wire::Map(_), _) => return Err("a map stands where none can be"),
        (Wire::Strings, Data::Bytes(b)) => strings(b)?,
        (Wire::Raw, Data::Bytes(b)) => raw(b)?.map_err(|_| "an embedded object is not JSON")?,
        (special, Data::Bytes(b)) => scalar(special, Scalar::read(b)?)?,
        _ => return Err("a field has the wrong wire type"),
    })
}

/// `ExtraValue` and `Verbs`.
fn strings(bytes: &[u8]) -> Result<Value, &'static str> {
    let mut items = Vec::new();
    let mut reader = Reader(bytes);
    while let Some((number, data)) = reader.next()? {
        if let (1, Data::Bytes(b)) = (number, data) {
            items.push(Value::from(text(b)?));
        }
    }
    Ok(Value::Array(items))
}

/// JSON inside a message, where it is any; none is null.
fn raw(bytes: &[u8]) -> Result<serde_json::Result<Value>, &'static str> {
    let mut reader = Reader(bytes);
    while let Some((number, data)) = reader.next()? {
        if let (1, Data::Bytes(b)) = (number, data)
            && !b.is_empty()
        {
            return Ok(serde_json::from_slice(b));
        }
    }
    Ok(Ok(Value::Null))
}

/// The `fieldsV1` of an entry of `managedFields`. Upstream finds out late that it is not JSON, and refuses nothing for that: it
/// goes on without the managed fields that were sent, as it does where they are not an object.
fn managed_fields(bytes: &[u8]) -> Result<Value, &'static str> {
    Ok(raw(bytes)?.unwrap_or_else(|error| Value::from(error.to_string())))
}

/// The fields 1 to 3 of the small messages that JSON prints as one scalar.
#[derive(Default)]
struct Scalar<'a> {
    /// Whether there is anything in it, be it zeros.
    filled: bool,
    numbers: [i64; 3],
    texts: [&'a str; 3],
}

impl<'a> Scalar<'a> {
    #[expect(clippy::cast_possible_wrap, reason = "protobuf integers are two's complement varints")]
    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut found = Self { filled: !bytes.is_empty(), ..Self::default() };
        let mut reader = Reader(bytes);
        while let Some((number, data)) = reader.next()? {
            let Some(at) = (number as usize).checked_sub(1).filter(|at| *at < 3) else { continue };
            match data {
                Data::Varint(n) => found.numbers[at] = n as i64,
                Data::Bytes(b) => found.texts[at] = text(b)?,
                Data::Fixed(_) => {}
            }
        }
        Ok(found)
    }

    /// `None` for Go's zero time, which JSON prints as null. It is written as nothing at all: zeros are the epoch.
    fn moment(&self, nanos: i64) -> Result<Option<Timestamp>, &'static str> {
        const YEAR_ONE: i64 = -62_135_596_800;
        if !self.filled || (self.numbers[0], nanos) == (YEAR_ONE, 0) {
            return Ok(None);
        }
        let nanos = i32::try_from(nanos).map_err(|_| "a time is out of range")?;
        Timestamp::new(self.numbers[0], nanos).map(Some).map_err(|_| "a time is out of range")
    }

    /// Of whole seconds, whatever else is said.
    fn time(&self) -> Result<Value, &'static str> {
        Ok(self.moment(0)?.map_or(Value::Null, |at| Value::from(time(at))))
    }

    /// Of whole microseconds.
    fn micro_time(&self) -> Result<Value, &'static str> {
        let nanos = self.numbers[1] - self.numbers[1] % 1000;
        Ok(self.moment(nanos)?.map_or(Value::Null, |at| Value::from(micro_time(at))))
    }
}

fn scalar(wire: &Wire, found: Scalar<'_>) -> Result<Value, &'static str> {
    Ok(match wire {
        Wire::Time => found.time()?,
        Wire::MicroTime => found.micro_time()?,
        Wire::Duration => Value::from(duration::go(found.numbers[0])),
        Wire::Quantity => Value::from(if found.texts[0].is_empty() { "0" } else { found.texts[0] }),
        Wire::IntOrString if found.numbers[0] == 1 => Value::from(found.texts[2]),
        Wire::IntOrString => Value::from(found.numbers[1]),
        _ => return Err("a field has the wrong wire type"),
    })
}

/// The alternatives of `JSONSchemaPropsOr…`: a schema, a list of schemas, a list of names, or a boolean.
fn schema_or(mut object: Object) -> Value {
    for name in ["schema", "jSONSchemas", "property"] {
        if let Some(value) = object.remove(name) {
            return value;
        }
    }
    object.remove("allows").unwrap_or(Value::Null)
}
