//! The type table: what every field of every built-in type is, read from `facts/`.
//!
//! Decoding, pruning, canonical form, strategic merge, managed fields, OpenAPI and protobuf all interpret this one table.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::Value;
use crate::kinds::{Kind, KindInfo};
use crate::status::Status;

mod fields;
pub mod messages;

pub use fields::Fields;

const SCHEMA: &str = include_str!("../facts/schema.tsv");
const DEFAULTS: &str = include_str!("../facts/defaults.tsv");
const POINTERS: &str = include_str!("../facts/pointers.tsv");
const PRINTED: &str = include_str!("../facts/printed.tsv");
const NAMED: &str = include_str!("../facts/named.tsv");

/// A [`Type`]: one of the built-in table, or one that a custom definition made.
#[derive(Debug, Clone)]
pub struct TypeId(Which);

#[derive(Debug, Clone)]
enum Which {
    /// By its index.
    Builtin(u16),
    Custom(Arc<Type>),
}

impl TypeId {
    /// Of a type that is in no table.
    #[must_use]
    pub fn custom(ty: Type) -> Self {
        Self(Which::Custom(Arc::new(ty)))
    }
}

impl PartialEq for TypeId {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Which::Builtin(a), Which::Builtin(b)) => a == b,
            (Which::Custom(a), Which::Custom(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for TypeId {}

/// What a field or item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// Base64 text.
    Bytes,
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with six fractional digits.
    MicroTime,
    /// `500m`, `1Gi`; numbers are taken too.
    Quantity,
    /// A 32-bit integer or text.
    IntOrString,
    /// An object of unknown shape (`RawExtension`, `FieldsV1`).
    Raw,
    /// Any JSON.
    Any,
    /// Any JSON, of which maps merge by key.
    Open,
    /// An object of a type of the table.
    Struct(TypeId),
    /// A list.
    List(Box<FieldType>),
    /// An object with free keys.
    Map(Box<FieldType>),
    /// What merges otherwise than its type says, where no field of a type can say how: a value of a map. Of custom types only.
    Merged(Box<Field>),
}

/// How a list is merged (server-side apply and managed fields).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    Atomic,
    /// As a set of scalars.
    Set,
    /// By the values of [`Field::map_keys`].
    Map,
}

/// How strategic merge patch treats a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// Lists merge by key (or as sets).
    pub merge: bool,
    /// Structs are replaced as a whole.
    pub replace: bool,
    /// `$retainKeys` is honoured: fields not named are cleared.
    pub retain_keys: bool,
}

/// One field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The JSON name.
    pub name: &'static str,
    /// What it holds.
    pub ty: FieldType,
    /// The same in the words of the facts, which keep the names of types that are scalars here (`runtime/RawExtension`).
    pub declared: &'static str,
    /// What Go calls the type (`[]v1.IPFamily`), where it has a name of its own for a scalar, a list or a map.
    pub go: Option<&'static str>,
    /// Whether the OpenAPI lists it as required; a required zero is printed.
    pub required: bool,
    /// Whether an explicit zero differs from absence.
    pub pointer: bool,
    /// What stands in the place of the field where it is absent, because Go cannot leave it out: structs and times by value, lists and
    /// scalars without `omitempty`. Nothing for a field that is left out.
    pub printed: Option<Value>,
    /// How a list merges; `Atomic` for what is not a list.
    pub list_type: ListType,
    /// Whether the facts state the list type; where they do not, it is atomic.
    pub list_type_stated: bool,
    /// The keys of a list of type map.
    pub map_keys: Vec<&'static str>,
    /// Whether a map or struct merges as a whole.
    pub atomic: bool,
    /// Whether a struct merges field by field here, although its type merges as a whole elsewhere.
    pub granular: bool,
    /// Strategic merge.
    pub patch_strategy: PatchStrategy,
    /// The key of a strategic merge.
    pub patch_merge_key: Option<&'static str>,
    /// The default that the OpenAPI states.
    pub default: Option<Value>,
}

/// One type.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// `core/v1.Pod`.
    pub name: &'static str,
    /// The fields by JSON name.
    pub fields: Fields,
    /// Those that are printed even where they are absent ([`Field::printed`]).
    pub printed: Vec<&'static str>,
    /// Whether it merges as a whole wherever it stands.
    pub atomic: bool,
    /// The `x-kubernetes-unions` JSON, where there is one.
    pub unions: Option<&'static str>,
    /// What a custom definition says beyond the fields; `None` for built-in types.
    pub custom: Option<CustomType>,
}

/// What is special about the types of custom definitions: JSON types, nulls and zeros are their schema's to judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomType {
    /// Whether fields that are not listed are kept (`x-kubernetes-preserve-unknown-fields`).
    pub open: bool,
    /// The API versions in which the object is known; of the type of a whole object only.
    pub api_versions: Vec<String>,
}

impl Type {
    /// `Pod` for `core/v1.Pod`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once(['.', '/']).map_or(self.name, |(_, n)| n)
    }

    /// `v1` for `core/v1.Pod`: the Go package's name.
    #[must_use]
    pub fn package(&self) -> &'static str {
        let at = self.name.split_once('/').map_or(self.name, |(_, n)| n);
        at.split_once('.').map_or("v1", |(v, _)| v)
    }

    /// Whether a custom definition made it.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// Whether fields that are not listed are kept.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.custom.as_ref().is_some_and(|custom| custom.open)
    }
}

/// A type, or the name of a built-in one.
#[derive(Debug, Clone, Copy)]
pub enum TypeRef<'a> {
    /// `apps/v1.Deployment`.
    Name(&'a str),
    /// The type itself.
    Type(&'a Type),
}

impl<'a> TypeRef<'a> {
    /// The type.
    ///
    /// # Errors
    /// 500 for a name that is not in the table.
    pub fn resolve(self) -> Result<&'a Type, Status> {
        match self {
            Self::Name(name) => {
                TypeTable::builtin().ty(name).ok_or_else(|| Status::internal(format!("no type {name}")))
            }
            Self::Type(ty) => Ok(ty),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Name(name) => name,
            Self::Type(ty) => ty.name,
        }
    }
}

impl<'a> From<&'a str> for TypeRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a String> for TypeRef<'a> {
    fn from(name: &'a String) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a Type> for TypeRef<'a> {
    fn from(ty: &'a Type) -> Self {
        Self::Type(ty)
    }
}

impl<'a> From<&'a KindInfo> for TypeRef<'a> {
    fn from(kind: &'a KindInfo) -> Self {
        match &kind.custom {
            Some(custom) => Self::Type(&custom.ty),
            None => Self::Name(&kind.type_name),
        }
    }
}

impl<'a> From<&'a Kind> for TypeRef<'a> {
    fn from(kind: &'a Kind) -> Self {
        Self::from(&**kind)
    }
}

/// All types.
#[derive(Debug)]
pub struct TypeTable {
    types: Vec<Type>,
    by_name: HashMap<&'static str, TypeId>,
}

impl TypeTable {
    /// The table of the built-in types.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static TABLE: OnceLock<TypeTable> = OnceLock::new();
        TABLE.get_or_init(|| Builder::new().build())
    }

    /// The type `name` (`core/v1.Pod`).
    #[must_use]
    pub fn ty(&self, name: &str) -> Option<&Type> {
        self.by_name.get(name).map(|id| self.get(id))
    }

    /// The index of the type `name`.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).cloned()
    }

    /// The type behind an index of this table.
    #[must_use]
    pub fn get<'t>(&'t self, id: &'t TypeId) -> &'t Type {
        match &id.0 {
            Which::Builtin(at) => &self.types[usize::from(*at)],
            Which::Custom(ty) => ty,
        }
    }

    /// Every type, by name.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.iter()
    }

    /// The fields of what `ty` holds, where it is a struct.
    #[must_use]
    pub fn fields_of<'t>(&'t self, ty: &'t FieldType) -> Option<&'t Type> {
        match ty {
            FieldType::Struct(id) => Some(self.get(id)),
            _ => None,
        }
    }
}

/// One line of `schema.tsv`.
struct Row {
    ty: &'static str,
    field: &'static str,
    json: &'static str,
    required: bool,
    list: &'static str,
    strategy: &'static str,
    merge_key: &'static str,
    map: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    SCHEMA.lines().skip(1).map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        Row {
            ty: next(),
            field: next(),
            json: next(),
            required: next() == "required",
            list: next(),
            strategy: next(),
            merge_key: next(),
            map: next(),
        }
    })
}

/// What Go prints for a value of this type that nobody has set.
fn empty(ty: &FieldType) -> Value {
    match ty {
        FieldType::String => Value::from(""),
        FieldType::Bool => Value::from(false),
        FieldType::Int32 | FieldType::Int64 => Value::from(0),
        FieldType::Quantity => Value::from("0"),
        FieldType::Struct(_) => Value::Object(crate::Object::new()),
        _ => Value::Null,
    }
}

/// The rows of `named.tsv`.
fn named() -> impl Iterator<Item = ((&'static str, &'static str), &'static str)> {
    lines(NAMED).filter_map(|line| {
        let (at, go) = line.rsplit_once('\t')?;
        Some((at.split_once('\t')?, go))
    })
}

/// The rows of a table whose head says in further lines, after `#`, where it is from.
fn lines(facts: &'static str) -> impl Iterator<Item = &'static str> {
    facts.lines().skip(1).filter(|line| !line.starts_with('#'))
}

struct Builder {
    types: Vec<Type>,
    by_name: HashMap<&'static str, usize>,
    defaults: HashMap<(&'static str, &'static str), Value>,
    pointers: HashMap<&'static str, Vec<&'static str>>,
    printed: HashMap<&'static str, Vec<&'static str>>,
    named: HashMap<(&'static str, &'static str), &'static str>,
}

impl Builder {
    fn new() -> Self {
        let three = |line: &'static str| {
            let mut cells = line.splitn(3, '\t');
            Some(((cells.next()?, cells.next()?), serde_json::from_str(cells.next()?).ok()?))
        };
        let fields_of = |facts: &'static str| {
            let cells = lines(facts).filter_map(|l| l.split_once('\t'));
            cells.map(|(ty, fields)| (ty, fields.split(' ').collect())).collect()
        };
        Self {
            types: Vec::new(),
            by_name: HashMap::new(),
            defaults: DEFAULTS.lines().skip(1).filter_map(three).collect(),
            pointers: fields_of(POINTERS),
            printed: fields_of(PRINTED),
            named: named().collect(),
        }
    }

    fn build(mut self) -> TypeTable {
        for row in rows() {
            if !self.by_name.contains_key(row.ty) && scalar(row.ty).is_none() {
                self.by_name.insert(row.ty, self.types.len());
                self.types.push(Type {
                    name: row.ty,
                    fields: Fields::default(),
                    printed: self.printed.get(row.ty).cloned().unwrap_or_default(),
                    atomic: false,
                    unions: None,
                    custom: None,
                });
            }
        }
        for row in rows() {
            self.add(&row);
        }
        let by_name = self.by_name.iter().map(|(name, at)| (*name, builtin(*at))).collect();
        TypeTable { types: self.types, by_name }
    }

    fn add(&mut self, row: &Row) {
        let Some(&at) = self.by_name.get(row.ty) else { return };
        if row.field.is_empty() {
            let ty = &mut self.types[at];
            ty.atomic = row.map == "atomic";
            ty.unions = row.map.strip_prefix("unions=");
            return;
        }
        let field = self.field(row);
        self.types[at].fields.insert(row.field, field);
    }

    fn field(&self, row: &Row) -> Field {
        let (list_type, map_keys) = match row.list.split_once(':') {
            Some((_, keys)) => (ListType::Map, keys.split(',').collect()),
            None if row.list == "set" => (ListType::Set, Vec::new()),
            None => (ListType::Atomic, Vec::new()),
        };
        let has = |word: &str| row.strategy.split(',').any(|s| s == word);
        let names =
            |fields: &HashMap<_, Vec<&str>>| fields.get(row.ty).is_some_and(|fields| fields.contains(&row.field));
        let (ty, pointer) = (self.parse(row.json), names(&self.pointers));
        let nothing = || if pointer { Value::Null } else { empty(&ty) };
        Field {
            name: row.field,
            printed: names(&self.printed).then(nothing),
            ty,
            declared: row.json,
            go: self.named.get(&(row.ty, row.field)).copied(),
            required: row.required,
            pointer,
            list_type,
            list_type_stated: !row.list.is_empty(),
            map_keys,
            atomic: row.map == "atomic",
            granular: row.map == "granular",
            patch_strategy: PatchStrategy {
                merge: has("merge"),
                replace: has("replace"),
                retain_keys: has("retainKeys"),
            },
            patch_merge_key: Some(row.merge_key).filter(|k| !k.is_empty()),
            default: self.defaults.get(&(row.ty, row.field)).cloned(),
        }
    }

    fn parse(&self, text: &'static str) -> FieldType {
        if let Some(item) = text.strip_prefix("[]") {
            return FieldType::List(Box::new(self.parse(item)));
        }
        if let Some(item) = text.strip_prefix("map:") {
            return FieldType::Map(Box::new(self.parse(item)));
        }
        scalar(text)
            .or_else(|| self.by_name.get(text).map(|at| FieldType::Struct(builtin(*at))))
            .unwrap_or(FieldType::Any)
    }
}

fn builtin(at: usize) -> TypeId {
    TypeId(Which::Builtin(u16::try_from(at).expect("the facts hold some hundred types")))
}

/// The types of the facts that are not structs here.
fn scalar(text: &str) -> Option<FieldType> {
    Some(match text {
        "string" => FieldType::String,
        "string:byte" => FieldType::Bytes,
        "boolean" => FieldType::Bool,
        "integer:int32" => FieldType::Int32,
        "integer:int64" => FieldType::Int64,
        "number:double" => FieldType::Double,
        "meta/v1.Time" => FieldType::Time,
        "meta/v1.MicroTime" => FieldType::MicroTime,
        "resource/Quantity" => FieldType::Quantity,
        "intstr/IntOrString" => FieldType::IntOrString,
        "object" | "runtime/RawExtension" | "meta/v1.FieldsV1" | "meta/v1.Patch" => FieldType::Raw,
        "any"
        | "apiextensions/v1.JSON"
        | "apiextensions/v1.JSONSchemaPropsOrArray"
        | "apiextensions/v1.JSONSchemaPropsOrBool"
        | "apiextensions/v1.JSONSchemaPropsOrStringArray" => FieldType::Any,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(ty: &str, name: &str) -> &'static Field {
        TypeTable::builtin().ty(ty).and_then(|t| t.fields.get(name)).unwrap_or_else(|| panic!("{ty} {name}"))
    }

    #[test]
    fn fields_are_what_the_facts_say() {
        let table = TypeTable::builtin();
        let container = table.id("core/v1.Container").expect("known");
        let containers = field("core/v1.PodSpec", "containers");
        assert_eq!(containers.ty, FieldType::List(Box::new(FieldType::Struct(container))));
        assert_eq!((containers.list_type, containers.map_keys.as_slice()), (ListType::Map, ["name"].as_slice()));
        assert!(containers.required && containers.patch_strategy.merge);
        let ports = field("core/v1.Container", "ports");
        assert_eq!(
            (ports.map_keys.as_slice(), ports.patch_merge_key),
            (["containerPort", "protocol"].as_slice(), Some("containerPort"))
        );
        assert!(field("core/v1.PodSpec", "volumes").patch_strategy.retain_keys);
        assert!(field("apps/v1.DeploymentSpec", "replicas").pointer);
        assert!(!field("core/v1.Container", "stdin").pointer);
        assert_eq!(field("core/v1.ServicePort", "protocol").default, Some("TCP".into()));
        assert_eq!(field("core/v1.Secret", "data").ty, FieldType::Map(Box::new(FieldType::Bytes)));
        assert!(table.ty("core/v1.LocalObjectReference").expect("known").atomic);
        assert_eq!(table.ty("core/v1.Pod").map(Type::short_name), Some("Pod"));
    }

    #[test]
    fn every_name_in_the_facts_resolves() {
        for row in rows().filter(|r| r.json.contains("/v") || r.json.contains("/Q")) {
            let named = row.json.trim_start_matches("[]").trim_start_matches("map:").trim_start_matches("[]");
            assert!(scalar(named).is_some() || TypeTable::builtin().ty(named).is_some(), "{} {}", row.ty, row.json);
        }
        for line in POINTERS.lines().skip(1) {
            let (ty, fields) = line.split_once('\t').expect("two cells");
            for name in fields.split(' ') {
                assert!(!field(ty, name).required, "{ty} {name}");
            }
        }
        for ((ty, name), go) in named() {
            let of = &field(ty, name).ty;
            let (list, map) = (go.starts_with("[]"), go.starts_with("map["));
            assert!(!list || matches!(of, FieldType::List(_)), "{ty} {name}");
            assert!(!map || matches!(of, FieldType::Map(_)), "{ty} {name}");
        }
        assert_eq!(named().count(), lines(NAMED).count());
        for line in lines(PRINTED) {
            let (ty, fields) = line.split_once('\t').expect("two cells");
            for name in fields.split(' ') {
                assert!(field(ty, name).printed.is_some(), "{ty} {name}");
            }
        }
    }

    #[test]
    fn every_served_kind_has_a_type() {
        for kind in crate::kinds::all() {
            assert!(TypeTable::builtin().ty(&kind.type_name).is_some(), "{}", kind.type_name);
        }
    }
}
