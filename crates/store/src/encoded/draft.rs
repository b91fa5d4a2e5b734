//! An object that is about to be stored: its bytes, and where its version will go once it has one.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Encoded, Error, Meta, VERSION_MEMBER, insert_member};

/// The stored form of an object, made from its tree; what is written need not be read again to be served.
#[derive(Clone, Debug)]
pub struct Draft {
    json: Bytes,
    place: Place,
    /// Where the metadata ends.
    behind_metadata: usize,
    meta: Arc<Meta>,
}

/// Where the resourceVersion goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before the member of the metadata that begins here.
    Before(usize),
    /// Behind the last member, which ends here.
    Behind(usize),
    /// There is one already.
    Taken,
}

impl Draft {
    /// Takes an object, which should have no `metadata.resourceVersion` yet.
    ///
    /// # Errors
    /// [`Error::NoName`]: no object with metadata and a name.
    pub fn new(object: &Value) -> Result<Self, Error> {
        Self::with(object, None)
    }

    /// As [`Draft::new`], with one member more in the metadata: a name that sorts before `resourceVersion` and is not there yet,
    /// and its value as compact JSON text.
    ///
    /// # Errors
    /// As [`Draft::new`].
    pub fn with(object: &Value, more: Option<(&str, &[u8])>) -> Result<Self, Error> {
        let object = object.as_object().ok_or(Error::NoName)?;
        let metadata = object.get("metadata").and_then(Value::as_object).ok_or(Error::NoName)?;
        let meta = Arc::new(meta(metadata)?);
        let mut json = Vec::with_capacity(8 << 10);
        let (mut place, mut behind_metadata) = (Place::Taken, 0);
        for (name, value) in object {
            write_name(name, b'{', &mut json);
            if name == "metadata" {
                place = write_metadata(metadata, more, &mut json);
                behind_metadata = json.len();
            } else {
                write(value, &mut json);
            }
        }
        json.push(b'}');
        Ok(Self { json: Bytes::from(json), place, behind_metadata, meta })
    }

    /// The bytes to store: compact JSON, keys in byte order.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The object as it is served, written at revision `rv`; 0 = not written.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn written(&self, rv: u64) -> Result<Encoded, Error> {
        let (at, last) = match self.place {
            Place::Before(at) => (at, false),
            Place::Behind(at) => (at, true),
            Place::Taken => return Encoded::from_json(&self.json, rv),
        };
        let whole = Vec::with_capacity(self.json.len() + VERSION_MEMBER.len() + 2);
        let inserted = insert_member(whole, &self.json, at, last)?;
        Ok(Encoded::made(inserted, self.json.len() - self.behind_metadata, rv, Arc::clone(&self.meta)))
    }
}

fn write<T: Serialize + ?Sized>(value: &T, json: &mut Vec<u8>) {
    serde_json::to_writer(json, value).expect("a value tree has string keys and a Vec takes all bytes");
}

/// Writes a member's name; before the first one of an object, `open`.
fn write_name(name: &str, open: u8, json: &mut Vec<u8>) {
    json.push(if json.last().is_none_or(|last| *last == b':') { open } else { b',' });
    write(name, json);
    json.push(b':');
}

fn write_metadata(metadata: &Map<String, Value>, more: Option<(&str, &[u8])>, json: &mut Vec<u8>) -> Place {
    const VERSION: &str = "resourceVersion";
    let mut place = None;
    let mut more = more;
    for (name, value) in metadata {
        if let Some((text_name, text)) = more.take_if(|(before, _)| *before < name.as_str()) {
            write_name(text_name, b'{', json);
            json.extend_from_slice(text);
        }
        if place.is_none() && name.as_str() >= VERSION {
            // Behind the comma or the bracket that comes next.
            place = Some(if name == VERSION { Place::Taken } else { Place::Before(json.len() + 1) });
        }
        write_name(name, b'{', json);
        write(value, json);
    }
    if let Some((name, text)) = more {
        write_name(name, b'{', json);
        json.extend_from_slice(text);
    }
    let end = json.len();
    json.push(b'}');
    place.unwrap_or(Place::Behind(end))
}

fn meta(metadata: &Map<String, Value>) -> Result<Meta, Error> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let list = |name: &str| metadata.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let labels = metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
    Ok(Meta {
        namespace: text("namespace").unwrap_or_default().into(),
        name: text("name").filter(|name| !name.is_empty()).ok_or(Error::NoName)?.into(),
        uid: text("uid").unwrap_or_default().into(),
        generation: metadata.get("generation").and_then(Value::as_i64).unwrap_or_default(),
        creation_timestamp: text("creationTimestamp").unwrap_or_default().into(),
        deletion_timestamp: text("deletionTimestamp").map(Box::from),
        has_finalizers: list("finalizers") > 0,
        labels: labels.filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into()))).collect(),
    })
}
