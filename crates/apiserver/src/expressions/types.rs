//! Types of what expressions see: the request, the namespace, and the kinds that are served.

use std::collections::BTreeMap;

use gantry_api::table::{self, FieldType, TypeRef, TypeTable};
use gantry_cel::{ObjectType, Type};

/// How deep the types of kinds are described; beyond that everything is allowed. JSON schemas contain themselves.
const DEPTH_MAX: usize = 12;

fn texts(name: &str, fields: &[&'static str]) -> Type {
    Type::Object(ObjectType::new(name, fields.iter().map(|field| (*field, Type::String))))
}

/// The type of `request`.
pub(crate) fn request() -> Type {
    let kind = || texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = || texts("kubernetes.GroupVersionResource", &["group", "version", "resource"]);
    let user = ObjectType::new(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    Type::Object(ObjectType::new(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", Type::String),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", Type::Object(user)),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    ))
}

/// The type of `namespaceObject`.
pub(crate) fn namespace() -> Type {
    let metadata = ObjectType::new(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", Type::map(Type::String, Type::String)),
            ("annotations", Type::map(Type::String, Type::String)),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = ObjectType::new("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))]);
    let condition = ObjectType::new(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let conditions = Type::list(Type::Object(condition));
    let status = ObjectType::new("kubernetes.NamespaceStatus", [("conditions", conditions), ("phase", Type::String)]);
    Type::Object(ObjectType::new(
        "kubernetes.Namespace",
        [("metadata", Type::Object(metadata)), ("spec", Type::Object(spec)), ("status", Type::Object(status))],
    ))
}

/// The type of a kind's objects.
pub(crate) fn of_kind<'a>(ty: impl Into<TypeRef<'a>>) -> Option<Type> {
    let ty = ty.into().resolve().ok()?;
    Some(Describer::default().structure(ty, ty.name, 0))
}

/// Describes types of the table. One that stands in many places is described once for each depth: without that the number
/// of descriptions would double with every level of a type that contains itself.
#[derive(Default)]
struct Describer {
    /// By the address of the type: those of custom kinds have the name of their kind.
    known: BTreeMap<(usize, usize), Type>,
}

impl Describer {
    /// `name` tells the types within a custom kind apart: it is the way to them.
    fn structure(&mut self, ty: &table::Type, name: &str, depth: usize) -> Type {
        if depth == DEPTH_MAX {
            return Type::Dyn;
        }
        let key = (std::ptr::from_ref(ty).addr(), depth);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let within = |field: &str| if ty.custom.is_some() { format!("{name}.{field}") } else { String::new() };
        let fields: Vec<(&str, Type)> = ty
            .fields
            .values()
            .map(|field| (field.name, self.field(&field.ty, &within(field.name), depth + 1)))
            .collect();
        let described = Type::Object(ObjectType::new(name, fields));
        self.known.insert(key, described.clone());
        described
    }

    fn field(&mut self, ty: &FieldType, name: &str, depth: usize) -> Type {
        match ty {
            FieldType::String | FieldType::Quantity => Type::String,
            FieldType::Bytes => Type::Bytes,
            FieldType::Bool => Type::Bool,
            FieldType::Int32 | FieldType::Int64 => Type::Int,
            FieldType::Double => Type::Double,
            FieldType::Time | FieldType::MicroTime => Type::Timestamp,
            FieldType::IntOrString | FieldType::Raw | FieldType::Any | FieldType::Open => Type::Dyn,
            FieldType::Struct(_) => match TypeTable::builtin().fields_of(ty) {
                Some(inner) => {
                    let name = if inner.custom.is_some() { name } else { inner.name };
                    self.structure(inner, name, depth)
                }
                None => Type::Dyn,
            },
            FieldType::List(of) => Type::list(self.field(of, name, depth)),
            FieldType::Map(of) => Type::map(Type::String, self.field(of, name, depth)),
            FieldType::Merged(field) => self.field(&field.ty, name, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Uses, environment};
    use super::*;

    #[test]
    fn kinds_have_types() {
        let uses = Uses { params: false, authorizer: false, changes: false };
        let environment = environment(uses, &of_kind("apps/v1.Deployment").expect("known"), &Type::Dyn);
        assert!(environment.compile("object.spec.replicas + 1 > 2 && object.metadata.labels['a'] == 'b'").is_ok());
        let why = environment.compile("object.spec.nonsense == 1").expect_err("no such field").to_string();
        assert!(why.contains("undefined field 'nonsense'"), "{why}");
        let schemas = of_kind("apiextensions/v1.JSONSchemaProps");
        assert!(schemas.is_some(), "a type that contains itself ends");
    }
}
