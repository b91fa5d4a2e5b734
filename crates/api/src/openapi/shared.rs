//! Parameters that many operations of a version 2 document take: they stand once in the document, as upstream has it.

use std::cell::RefCell;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use serde_json::json;

use crate::{Object, Value};

pub(super) const PARAMETERS: &str = "#/parameters/";
/// Bytes of a hash that are part of a name.
const HASH_BYTES: usize = 6;

/// The shared parameters of a document, by the names that operations refer to them by.
#[derive(Default)]
pub(super) struct Shared(RefCell<Object>);

impl Shared {
    /// A reference to a parameter, which is kept; or the parameter itself, where it is never shared: those in which clients look for
    /// what the server can (kubectl before 1.27), and those that are of one kind.
    pub(super) fn placed(&self, parameter: Value) -> Value {
        let name = parameter["name"].as_str().unwrap_or_default();
        let of_one_kind = match name {
            "name" | "dryRun" | "fieldValidation" => true,
            "body" => {
                let ty = parameter["schema"]["$ref"].as_str().unwrap_or_default();
                !ty.starts_with("#/definitions/io.k8s.apimachinery")
            }
            _ => false,
        };
        if of_one_kind {
            return parameter;
        }
        let name = format!("{name}-{}", hash(&parameter));
        let reference = json!({"$ref": format!("{PARAMETERS}{name}")});
        self.0.borrow_mut().insert(name, parameter);
        reference
    }

    /// Those that are kept, which are then forgotten.
    pub(super) fn take(&self) -> Object {
        self.0.take()
    }
}

impl From<Object> for Shared {
    fn from(parameters: Object) -> Self {
        Self(RefCell::new(parameters))
    }
}

/// What tells parameters of one name apart: upstream's hash of their JSON (kube-openapi, `builder/parameters.go`), which has Go's order
/// of members.
fn hash(parameter: &Value) -> String {
    let mut text = String::from("{");
    for name in ["uniqueItems", "type", "description", "name", "in", "required", "schema"] {
        if let Some(value) = parameter.get(name) {
            let comma = if text.len() > 1 { "," } else { "" };
            text.push_str(&format!("{comma}\"{name}\":{value}"));
        }
    }
    text.push('}');
    BASE64_URL_SAFE.encode(&fnv(text.as_bytes()).to_be_bytes()[..HASH_BYTES])
}

/// FNV-1 of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_as_upstream_names_them() {
        let check = |parameter: Value, expected: &str| {
            let shared = Shared::default();
            assert_eq!(shared.placed(parameter.clone()), json!({"$ref": format!("{PARAMETERS}{expected}")}));
            assert_eq!(shared.take(), Object::from_iter([(expected.to_owned(), parameter)]));
        };
        let meta = |ty: &str| json!({"$ref": format!("#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.{ty}")});
        check(json!({"name": "body", "in": "body", "schema": meta("DeleteOptions")}), "body-2Y1dVQaQ");
        check(json!({"name": "body", "in": "body", "required": true, "schema": meta("Patch")}), "body-78PwaGsr");
    }

    #[test]
    fn what_is_of_one_kind_or_tells_what_the_server_can_stays_where_it_is() {
        let shared = Shared::default();
        let core = json!({"$ref": "#/definitions/io.k8s.api.core.v1.Pod"});
        for parameter in [
            json!({"name": "name", "in": "path"}),
            json!({"name": "dryRun", "in": "query"}),
            json!({"name": "fieldValidation", "in": "query"}),
            json!({"name": "body", "in": "body", "schema": core}),
        ] {
            assert_eq!(shared.placed(parameter.clone()), parameter);
        }
        assert_eq!(shared.take(), Object::new());
    }
}
