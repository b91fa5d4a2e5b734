//! ConfigMaps, Secrets and ServiceAccounts.

use std::borrow::Cow;

use gantry_api::{Value, value};
use serde_json::json;

use super::columns::{AGE, NAME, age, cells, column, name, text};
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of config maps.
pub(super) struct ConfigMap;
/// The strategy of secrets.
pub(super) struct Secret;
/// The strategy of service accounts.
pub(super) struct ServiceAccount;

fn count(object: &Value, path: &str) -> usize {
    value::map_at(object, path).map_or(0, serde_json::Map::len)
}

impl Strategy for ConfigMap {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Data", "string", "Number of entries"), AGE] }
    }

    fn row(&self, map: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(map), (count(map, "data") + count(map, "binaryData")).into(), age(map, now)])
    }
}

impl Strategy for Secret {
    fn field_value<'a>(&self, secret: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "type" => Some(text(secret, path).into()),
            _ => metadata_field(secret, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Type", "string", "What the entries mean"),
                column("Data", "string", "Number of entries"),
                AGE,
            ]
        }
    }

    fn row(&self, secret: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(secret), text(secret, "type").into(), count(secret, "data").into(), age(secret, now)])
    }
}

impl Strategy for ServiceAccount {
    fn prepare_create(&self, _ctx: &Ctx<'_>, account: &mut Value) {
        keep_secret_names(account);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, _old: &Value) {
        keep_secret_names(new);
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, AGE] }
    }

    fn row(&self, account: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(account), age(account, now)])
    }
}

/// Only the names of mountable secrets count.
fn keep_secret_names(account: &mut Value) {
    let Some(secrets) = value::get_mut(account, "secrets").and_then(Value::as_array_mut) else { return };
    for secret in secrets {
        *secret = json!({"name": text(secret, "name")});
    }
}
