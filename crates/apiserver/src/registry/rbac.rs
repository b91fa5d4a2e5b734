//! Roles and bindings.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, text, wide};
use super::{Column, Row, Strategy};

/// The strategy of roles and cluster roles.
pub(super) struct Role;
/// The strategy of role bindings and cluster role bindings.
pub(super) struct Binding;

impl Strategy for Role {
    fn create_on_update(&self) -> bool {
        true
    }
}

impl Strategy for Binding {
    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Role", "string", "The role that is granted"),
                AGE,
                wide("Users", "string", "Users that have it"),
                wide("Groups", "string", "Groups that have it"),
                wide("ServiceAccounts", "string", "Service accounts that have it"),
            ]
        }
    }

    fn row(&self, binding: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![
            name(binding),
            format!("{}/{}", text(binding, "roleRef.kind"), text(binding, "roleRef.name")).into(),
            age(binding, now),
            subjects(binding, "User").into(),
            subjects(binding, "Group").into(),
            subjects(binding, "ServiceAccount").into(),
        ])
    }
}

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = value::list_at(binding, "subjects").iter().filter(|s| text(s, "kind") == kind);
    let names = of_kind.map(|s| match kind {
        "ServiceAccount" => format!("{}/{}", text(s, "namespace"), text(s, "name")),
        _ => text(s, "name").to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}
