//! Kinds that are defined at run time: what a `CustomResourceDefinition` says, as kinds, types and schemas.
//!
//! A definition is counted, and with it all that it says: it lives as long as somebody serves it or holds one of its kinds
//! (docs/adr/0006). Those that live are interned by content, so that the same content is the same definition, and two servers of one
//! process share it. What changes by itself, as the certificates of a conversion webhook do, is no part of them.

mod columns;
mod defaults;
mod definition;
mod field_path;
pub mod json_path;
mod names;
pub mod schema;
mod types;
mod validate;

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use crate::Value;
use crate::kinds::{self, KindInfo};
use crate::table::Type;

pub use columns::Column;
pub use defaults::{ADDED_BYTES_MAX, Overgrown, apply as default_object, prune_nulls};
pub use definition::{of as definition, webhook};
pub use field_path::field_path;
pub use json_path::JsonPath;
pub use schema::Schema;
pub use validate::{
    Counterparts, Unknown, create as validate_new, formats, status as validate_status, update as validate_changed,
    value as validate_value,
};

/// What a definition says of one version of its kind.
#[derive(Debug)]
pub struct Custom {
    /// The type: what decoding, pruning and managed fields go by.
    pub ty: Type,
    /// The schema: what defaulting and validation go by.
    pub schema: Schema,
    /// The schema as it was written, for OpenAPI.
    pub source: Value,
    /// `CronTabList`.
    pub list_kind: String,
    /// The columns of a Table, the name's first.
    pub columns: Vec<Column>,
    /// Where the scale subresource finds its numbers.
    pub scale: Option<Scale>,
    /// The fields that lists can be selected by, beyond those of metadata.
    pub selectable: Vec<(String, JsonPath)>,
    /// Whether `/status` is served.
    pub has_status: bool,
    /// What a server has made of the schema: its rules, compiled. They go with it.
    pub compiled: Compiled,
    definition: Weak<Definition>,
}

impl Custom {
    /// The definition that it belongs to. Who has this has it from there.
    #[must_use]
    pub fn definition(&self) -> Arc<Definition> {
        self.definition.upgrade().expect("a version is reached through its definition, which is held meanwhile")
    }
}

/// Something that is made of a schema once, by whoever knows how.
#[derive(Debug, Default)]
pub struct Compiled(OnceLock<Box<dyn Any + Send + Sync>>);

impl Compiled {
    /// What was made before, else what `make` makes. There is room for one type of thing; another one is not made.
    pub fn get_or_make<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Custom {}

/// The paths of the scale subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: String,
    /// `status.replicas`.
    pub status_replicas: String,
    /// `status.selector`; a string.
    pub selector: Option<String>,
}

/// How objects get from one version to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Only `apiVersion` differs.
    None,
    /// A webhook does it. Where it is stands in [`webhook`], which may change as often as its certificates do.
    Webhook,
}

/// One definition with the kinds of all its versions, served or not.
#[derive(Debug)]
pub struct Definition {
    /// `crontabs.stable.example.com`.
    pub name: String,
    /// The group.
    pub group: String,
    /// `/registry/stable.example.com/crontabs/`.
    pub storage_prefix: String,
    /// How versions are converted.
    pub conversion: Conversion,
    /// What decides how stored objects are read: schemas and the kind of conversion, as canonical JSON.
    pub form: Vec<u8>,
    versions: OnceLock<Vec<Version>>,
}

/// One version of a definition.
#[derive(Debug)]
struct Version {
    kind: KindInfo,
    served: bool,
    storage: bool,
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Definition {
    /// `crontabs`.
    #[must_use]
    pub fn plural(&self) -> &str {
        self.name.split_once('.').map_or("", |(plural, _)| plural)
    }

    fn versions(&self) -> &[Version] {
        self.versions.get().map_or(&[], Vec::as_slice)
    }

    /// The kinds that are served.
    pub fn served(&self) -> impl Iterator<Item = &KindInfo> {
        self.versions().iter().filter(|v| v.served).map(|v| &v.kind)
    }

    /// The kind of the version at a place.
    pub(crate) fn at(&self, place: u16) -> &KindInfo {
        &self.versions()[usize::from(place)].kind
    }

    /// Whether built-in objects are stored where its own would be (`customresourcedefinitions.apiextensions.k8s.io`): they would
    /// be taken for them, and deleted with the definition.
    #[must_use]
    pub fn is_over_built_in(&self) -> bool {
        kinds::by_storage_key(&self.storage_prefix).is_some()
    }

    /// Whether there is more than one version, so that an object may be stored in another than is asked for.
    #[must_use]
    pub fn has_versions(&self) -> bool {
        self.versions().len() > 1
    }

    /// The kind of a version, served or not.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&KindInfo> {
        self.versions().iter().map(|v| &v.kind).find(|kind| kind.version == name)
    }

    /// The kind in whose version objects are stored.
    #[must_use]
    pub fn storage(&self) -> Option<&KindInfo> {
        self.versions().iter().find(|v| v.storage).map(|v| &v.kind)
    }

    /// The kind of which each object is seen once: that of the stored version where it is served, else of the first that is.
    #[must_use]
    pub fn canonical(&self) -> Option<&KindInfo> {
        self.versions().iter().find(|v| v.served && v.storage).map(|v| &v.kind).or_else(|| self.served().next())
    }
}
