//! Roles and bindings.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, name, of_field, text, wide};
use super::{Column, Row, Strategy};

/// The strategy of roles and cluster roles.
pub(super) struct Role;
/// The strategy of role bindings and cluster role bindings.
pub(super) struct Binding {
    columns: &'static [Column],
}

pub(super) const ROLE_BINDING: Binding = Binding {
    columns: const {
        &[
            NAME,
            of_field("Role", "string", "rbac/v1.RoleBinding", "roleRef"),
            AGE,
            wide("Users", "string", "Users in the roleBinding"),
            wide("Groups", "string", "Groups in the roleBinding"),
            wide("ServiceAccounts", "string", "ServiceAccounts in the roleBinding"),
        ]
    },
};
pub(super) const CLUSTER_ROLE_BINDING: Binding = Binding {
    columns: const {
        &[
            NAME,
            of_field("Role", "string", "rbac/v1.ClusterRoleBinding", "roleRef"),
            AGE,
            wide("Users", "string", "Users in the clusterRoleBinding"),
            wide("Groups", "string", "Groups in the clusterRoleBinding"),
            wide("ServiceAccounts", "string", "ServiceAccounts in the clusterRoleBinding"),
        ]
    },
};

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
        self.columns
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
