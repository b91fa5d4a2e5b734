//! What `status` holds before anybody has written it: upstream's types print it even then.

use crate::decode::conform;
use crate::kinds::KindInfo;
use crate::table::{FieldType, TypeTable};
use crate::{Object, Value};

/// The status of a new object; nothing for kinds that have none or print it only when it is set.
#[must_use]
pub fn empty_status(kind: &KindInfo) -> Option<Value> {
    if !kind.has_status || kind.custom.is_some() || kind.group == "apiextensions.k8s.io" {
        return None;
    }
    let table = TypeTable::builtin();
    let mut status = Value::Object(Object::new());
    if let FieldType::Struct(id) = &table.ty(&kind.type_name)?.fields.get("status")?.ty {
        conform(&mut status, table.get(id)).ok()?;
    }
    Some(status)
}
