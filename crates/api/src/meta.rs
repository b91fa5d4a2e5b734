//! A cheap look at the metadata of an encoded object: borrowed, everything else is skipped.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Text that borrows from the input unless it holds escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(v)))
            }

            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Borrow)
    }
}

/// Labels as they stand in the object, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Labels(pairs))
            }

            fn visit_unit<E>(self) -> Result<Labels<'de>, E> {
                Ok(Labels::default())
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

/// An owner, as far as it is needed to find dependents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner<'a> {
    /// The owner's uid.
    #[serde(borrow)]
    pub uid: Text<'a>,
    /// Its kind.
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Whether it is the managing controller.
    pub controller: bool,
}

/// What is known of an object without decoding it.
#[derive(Debug, Clone, Default)]
pub struct Peek<'a> {
    /// `apps/v1`.
    pub api_version: Text<'a>,
    /// `Deployment`.
    pub kind: Text<'a>,
    /// The name.
    pub name: Text<'a>,
    /// The namespace; empty for cluster scope.
    pub namespace: Text<'a>,
    /// The uid.
    pub uid: Text<'a>,
    /// The resource version, where the bytes carry one.
    pub resource_version: Text<'a>,
    /// The generation; 0 where there is none.
    pub generation: i64,
    /// When it was created.
    pub creation_timestamp: Text<'a>,
    /// When it was asked to go.
    pub deletion_timestamp: Option<Text<'a>>,
    /// The labels.
    pub labels: Labels<'a>,
    /// The annotations, not decoded.
    pub annotations: Option<&'a RawValue>,
    /// The finalizers.
    pub finalizers: Vec<Text<'a>>,
    /// The owners.
    pub owners: Vec<Owner<'a>>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(default, borrow, rename = "apiVersion")]
    api_version: Text<'a>,
    #[serde(default, borrow)]
    kind: Text<'a>,
    #[serde(default, borrow)]
    metadata: Option<Meta<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    resource_version: Text<'a>,
    generation: Option<i64>,
    #[serde(borrow)]
    creation_timestamp: Text<'a>,
    #[serde(borrow)]
    deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    finalizers: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    owner_references: Option<Vec<Owner<'a>>>,
    /// Named so that it is skipped without a look at its keys.
    #[serde(rename = "managedFields")]
    _managed_fields: IgnoredAny,
}

/// Reads the metadata of an encoded object.
///
/// # Errors
/// When the bytes are not a JSON object or its metadata has the wrong types.
pub fn peek(bytes: &[u8]) -> Result<Peek<'_>, serde_json::Error> {
    let outer: Outer<'_> = serde_json::from_slice(bytes)?;
    let meta = outer.metadata.unwrap_or_default();
    Ok(Peek {
        api_version: outer.api_version,
        kind: outer.kind,
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation.unwrap_or_default(),
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        labels: meta.labels,
        annotations: meta.annotations,
        finalizers: meta.finalizers.unwrap_or_default(),
        owners: meta.owner_references.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_borrowed() {
        let bytes = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","labels":{"x":"y","q":"\"z"},
            "managedFields":[{"manager":"m"}],"finalizers":["f"],"deletionTimestamp":"t","annotations":{"b":"c"},
            "ownerReferences":[{"uid":"o","kind":"ReplicaSet","name":"r","controller":true,"apiVersion":"apps/v1"}]},"spec":{"deep":[1,2,{}]}}"#;
        let peek = peek(bytes).expect("an object");
        assert_eq!((&*peek.kind, &*peek.name, &*peek.namespace, &*peek.uid), ("Pod", "a", "n", "u"));
        assert!(matches!(peek.name.0, Cow::Borrowed(_)));
        assert_eq!(peek.labels.0.iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>(), [("x", "y"), ("q", "\"z")]);
        assert_eq!((&*peek.finalizers[0], &*peek.owners[0].uid, peek.owners[0].controller), ("f", "o", true));
        assert_eq!(peek.deletion_timestamp.as_deref(), Some("t"));
        assert_eq!(peek.annotations.map(RawValue::get), Some(r#"{"b":"c"}"#));
    }

    #[test]
    fn what_is_absent_is_empty() {
        let peek = peek(b"{\"metadata\":{\"labels\":null,\"finalizers\":null}}").expect("an object");
        assert_eq!((&*peek.name, peek.labels.0.len(), peek.generation), ("", 0, 0));
        assert!(super::peek(b"1").is_err() && super::peek(b"{").is_err());
    }
}
