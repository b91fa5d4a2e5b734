//! An object as it is sent: JSON split where its resourceVersion goes.
//!
//! Objects are stored without `metadata.resourceVersion`; the revision of the write is their version. `Encoded` keeps
//! one buffer that reads `...,"resourceVersion":"` ‖ `",...` and is written with any version in between, because DELETED
//! events and objects that leave a selection carry an old object with a new version. Nothing on the read path decodes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::draft::Draft;
use crate::scan;

mod draft;

const VERSION_MEMBER: &[u8] = b"\"resourceVersion\":\"";
const VERSION_KEY: &[u8] = b"resourceVersion";

/// Why a stored value cannot be served as an object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value is not JSON text.
    #[error("the value is not a JSON object with metadata")]
    NotJson {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The value is not UTF-8.
    #[error("the value is not UTF-8 text")]
    NotText {
        /// Where.
        #[source]
        source: std::str::Utf8Error,
    },
    /// The metadata has a member of the wrong type.
    #[error("the object's metadata cannot be read")]
    Metadata {
        /// Which and why.
        #[source]
        source: serde_json::Error,
    },
    /// `metadata.name` is missing or empty.
    #[error("the object has no metadata.name")]
    NoName,
    /// The value is larger than 4 GiB.
    #[error("the object of {bytes} bytes is too large to be served")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What selectors, keys and deletion need from an object's metadata, parsed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// "" = cluster-scoped.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.generation`, 0 = none.
    pub generation: i64,
    /// RFC 3339.
    pub creation_timestamp: Box<str>,
    /// RFC 3339; set = the object is being deleted.
    pub deletion_timestamp: Option<Box<str>>,
    /// Whether `metadata.finalizers` has an entry.
    pub has_finalizers: bool,
    /// Sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
}

impl Meta {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        Some(&self.labels[found].1)
    }
}

/// An object in its served JSON form, ready to be sent with any resourceVersion. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// head ‖ tail: valid JSON whose resourceVersion is "".
    whole: Bytes,
    /// Where the head ends.
    split: u32,
    /// Where the metadata ends.
    behind_metadata: u32,
    /// The revision of the write that made this state.
    rv: u64,
    /// The peek.
    meta: Arc<Meta>,
}

impl Encoded {
    /// Takes a JSON object as stored (a resourceVersion in it is dropped) and the revision of its write.
    ///
    /// # Errors
    /// [`Error`]: not valid JSON, no usable metadata.
    pub fn from_json(value: &[u8], rv: u64) -> Result<Self, Error> {
        let text = std::str::from_utf8(value).map_err(|source| Error::NotText { source })?;
        let outer: Outer<'_> = serde_json::from_str(text).map_err(|source| Error::NotJson { source })?;
        let metadata = outer.metadata.get();
        let peek: Peek<'_> = serde_json::from_str(metadata).map_err(|source| Error::Metadata { source })?;
        let meta = Arc::new(peek.into_meta()?);
        let start = metadata.as_ptr() as usize - text.as_ptr() as usize;
        let (whole, split) = insert_version(value, start)?;
        Ok(Self::made((whole, split), value.len() - (start + metadata.len()), rv, meta))
    }

    /// `after`: bytes behind the metadata, in which nothing was inserted.
    fn made((whole, split): (Bytes, u32), after: usize, rv: u64, meta: Arc<Meta>) -> Self {
        // In what is longer than 4 GiB, which nobody stores, no field is found.
        let behind_metadata = u32::try_from(whole.len() - after).unwrap_or(u32::MAX);
        Self { whole, split, behind_metadata, rv, meta }
    }

    /// The bytes before the resourceVersion's digits; ends with `"resourceVersion":"`.
    #[must_use]
    pub fn head(&self) -> Bytes {
        self.whole.slice(..self.split as usize)
    }

    /// The bytes after the digits; starts with `"`.
    #[must_use]
    pub fn tail(&self) -> Bytes {
        self.whole.slice(self.split as usize..)
    }

    /// head ‖ tail: a valid JSON object whose resourceVersion is "".
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.whole
    }

    /// The revision of the write that made this state.
    #[must_use]
    pub fn rv(&self) -> u64 {
        self.rv
    }

    /// The parsed part of the metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of the object without the version's digits.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.whole.len()
    }

    /// Appends the object with resourceVersion `rv`; 0 is no version, so none is shown.
    pub fn write(&self, rv: u64, out: &mut impl BufMut) {
        let split = self.split as usize;
        if rv == 0 {
            return self.write_unversioned(out);
        }
        out.put_slice(&self.whole[..split]);
        put_decimal(rv, out);
        out.put_slice(&self.whole[split..]);
    }

    fn write_unversioned(&self, out: &mut impl BufMut) {
        let split = self.split as usize;
        let (head, tail) = (&self.whole[..split], &self.whole[split + 1..]);
        let key = head.windows(VERSION_KEY.len()).rposition(|w| w == VERSION_KEY).map_or(split, |at| at - 1);
        let (head, tail) = (head[..key].trim_ascii_end(), tail.trim_ascii_start());
        // One of the commas beside the member goes with it.
        let (head, tail) = match (tail.strip_prefix(b","), head.strip_suffix(b",")) {
            (Some(tail), _) => (head, tail),
            (None, Some(head)) => (head, tail),
            (None, None) => (head, tail),
        };
        out.put_slice(head);
        out.put_slice(tail);
    }

    /// The object with resourceVersion `rv`, in a buffer of its own.
    #[must_use]
    pub fn to_bytes(&self, rv: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.whole.len() + 20);
        self.write(rv, &mut out);
        Bytes::from(out)
    }

    /// The string, number or boolean at `path`, found by scanning; None = absent, null, an object or a list.
    #[must_use]
    pub fn scalar_at(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let raw = std::str::from_utf8(self.value_at(path)?).ok()?;
        match raw.as_bytes().first()? {
            b'"' if !raw.contains('\\') => Some(Cow::Borrowed(&raw[1..raw.len() - 1])),
            b'"' => serde_json::from_str(raw).ok().map(Cow::Owned),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(raw)),
        }
    }
}

impl Encoded {
    /// The JSON text at `path`. The metadata is often half of an object: it is not walked through where names are sorted.
    fn value_at(&self, path: &[&str]) -> Option<&[u8]> {
        let (whole, behind_metadata) = (&self.whole[..], self.behind_metadata as usize);
        let (first, rest) = path.split_first()?;
        let before = || scan::members(whole.get(..behind_metadata)?, 0).start_of(first);
        let behind = || scan::members_after(whole, behind_metadata).start_of(first);
        let first = if *first > "metadata" { behind().or_else(before) } else { before().or_else(behind) }?;
        scan::value_at(whole, rest.iter().try_fold(first, |start, step| scan::members(whole, start).start_of(step))?)
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peek<'a> {
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uid: Option<Cow<'a, str>>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(borrow, default)]
    creation_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(default)]
    finalizers: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl Peek<'_> {
    fn into_meta(self) -> Result<Meta, Error> {
        let text = |value: Option<Cow<'_, str>>| value.map(|text| Box::from(text.as_ref()));
        let name = text(self.name.filter(|name| !name.is_empty())).ok_or(Error::NoName)?;
        let labels = self.labels.unwrap_or_default();
        Ok(Meta {
            namespace: text(self.namespace).unwrap_or_default(),
            name,
            uid: text(self.uid).unwrap_or_default(),
            generation: self.generation.unwrap_or_default(),
            creation_timestamp: text(self.creation_timestamp).unwrap_or_default(),
            deletion_timestamp: text(self.deletion_timestamp),
            has_finalizers: self.finalizers.is_some_and(|list| !list.is_empty()),
            labels: labels.into_iter().map(|(key, value)| (key.as_ref().into(), value.as_ref().into())).collect(),
        })
    }
}

/// Copies `value` with an empty resourceVersion at its sorted place in the metadata that opens at `start`.
fn insert_version(value: &[u8], start: usize) -> Result<(Bytes, u32), Error> {
    let mut whole = Vec::with_capacity(value.len() + VERSION_MEMBER.len() + 2);
    let mut after = None; // where the first member with a greater key starts (its opening quote)
    let mut last = None; // where the last member ends
    for member in scan::members(value, start) {
        let key = &value[member.key.clone()];
        if key == VERSION_KEY {
            whole.extend_from_slice(&value[..member.value.start]);
            whole.push(b'"');
            let split = whole.len();
            whole.push(b'"');
            whole.extend_from_slice(&value[member.value.end..]);
            return finish(whole, split);
        }
        if after.is_none() && key > VERSION_KEY {
            after = Some(member.key.start - 1);
        }
        last = Some(member.value.end);
    }
    let at = after.or(last).ok_or(Error::NoName)?;
    insert_member(whole, value, at, after.is_none())
}

/// Appends `value` to `whole` with an empty resourceVersion at `at`: behind the `last` member, or before another one.
fn insert_member(mut whole: Vec<u8>, value: &[u8], at: usize, last: bool) -> Result<(Bytes, u32), Error> {
    whole.extend_from_slice(&value[..at]);
    if last {
        whole.push(b',');
    }
    whole.extend_from_slice(VERSION_MEMBER);
    let split = whole.len();
    whole.push(b'"');
    if !last {
        whole.push(b',');
    }
    whole.extend_from_slice(&value[at..]);
    finish(whole, split)
}

fn finish(whole: Vec<u8>, split: usize) -> Result<(Bytes, u32), Error> {
    let bytes = whole.len();
    let split = u32::try_from(split).map_err(|_| Error::TooLarge { bytes })?;
    Ok((Bytes::from(whole), split))
}

fn put_decimal(mut number: u64, out: &mut impl BufMut) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit is below 10");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
