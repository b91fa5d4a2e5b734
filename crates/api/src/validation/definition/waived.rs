//! What an update of a definition need not mend: what older servers let pass, and its predecessor has.

use super::openapi::{has_optional_keys, set_of_parts};
use super::parts::{MAX_SELECTABLE, knows_review};
use super::walk::{all, schemas};
use super::{defaults, schema, text};
use crate::Value;
use crate::value::{bool_at, get, list_at};

/// What is asked of a definition since some version of upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Every version has a schema.
    Schemas,
    /// Types are those of OpenAPI.
    Types,
    /// Schemas are structural.
    Structure,
    /// Defaults have no fields that are pruned.
    PrunedDefaults,
    /// The items of sets are atomic.
    AtomicSets,
    /// The keys of lists of type map are always there.
    MapKeys,
    /// One of the versions of reviews is known.
    ReviewVersions,
    /// What a webhook is trusted by is a certificate.
    Bundle,
}

const EXTENSIONS: [&str; 6] = [
    "x-kubernetes-embedded-resource",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
];

/// What is asked of one definition.
#[derive(Debug)]
pub(super) struct Terms {
    waived: Vec<Demand>,
    /// Versions that may keep more selectable fields than are allowed now.
    many_fields: Vec<String>,
}

impl Terms {
    /// Of one that takes the place of `old`, if there is one.
    pub(super) fn of(new: &Value, old: Option<&Value>) -> Self {
        // Before a kind is established, somebody may still put the bundle in.
        let Some(old) = old else { return Self { waived: vec![Demand::Bundle], many_fields: Vec::new() } };
        let mut waived = Vec::new();
        let mut waive = |demand, already: bool| {
            if already {
                waived.push(demand);
            }
        };
        let all_old = || schemas(old).flat_map(all);
        waive(Demand::Schemas, list_at(old, "spec.versions").iter().any(|v| !has_schema(v)));
        waive(Demand::Types, all_old().any(schema::has_unknown_type));
        waive(Demand::Structure, schemas(old).any(is_loose) && may_be_loose(new));
        waive(Demand::PrunedDefaults, schemas(old).filter(|s| !is_loose(s)).flat_map(all).any(defaults::is_unpruned));
        waive(Demand::AtomicSets, all_old().any(|s| set_of_parts(s).is_some()));
        waive(Demand::MapKeys, all_old().any(has_optional_keys));
        let reviews = list_at(old, "spec.conversion.webhook.conversionReviewVersions");
        waive(Demand::ReviewVersions, !reviews.is_empty() && !knows_review(reviews));
        waive(Demand::Bundle, super::has_no_authority(old) || !super::is_established(old));
        Self { waived, many_fields: many_fields(new, old) }
    }

    /// Whether this is asked for.
    pub(super) fn ask(&self, demand: Demand) -> bool {
        !self.waived.contains(&demand)
    }

    /// Whether the version may have any number of selectable fields.
    pub(super) fn allow_many_fields(&self, version: &str) -> bool {
        self.many_fields.iter().any(|name| name == version)
    }
}

fn has_schema(version: &Value) -> bool {
    get(version, "schema.openAPIV3Schema").is_some_and(Value::is_object)
}

fn is_loose(schema: &Value) -> bool {
    schema::unreadable(schema).is_some() || !schema::structural_errors(super::At::Root(""), schema).is_empty()
}

/// Whether nothing in the definition needs structural schemas.
fn may_be_loose(definition: &Value) -> bool {
    let needs = |schema: &Value| {
        schema.get("default").is_some_and(|d| !d.is_null())
            || EXTENSIONS.iter().any(|name| schema.get(name).is_some_and(|v| !crate::validation::at::empty(v)))
    };
    bool_at(definition, "spec.preserveUnknownFields") && !schemas(definition).flat_map(all).any(needs)
}

fn fields(version: &Value) -> &[Value] {
    list_at(version, "selectableFields")
}

fn many_fields(new: &Value, old: &Value) -> Vec<String> {
    let before = |name: &str| list_at(old, "spec.versions").iter().find(|v| text(v, "name") == name);
    let same = |version: &&Value| {
        before(text(version, "name"))
            .is_some_and(|old| fields(old).len() > MAX_SELECTABLE && fields(old) == fields(version))
    };
    list_at(new, "spec.versions").iter().filter(same).map(|v| text(v, "name").to_owned()).collect()
}
