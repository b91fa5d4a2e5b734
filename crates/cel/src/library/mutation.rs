//! What mutations use beside their types: keys in the paths of JSON patches (RFC 6901).

use super::strings::made;
use super::{NO_OVERLOAD, Result};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

pub(super) const ENTRIES: &[Entry] = &[entry("jsonpatch.escapeKey", escape_key, &["(string) string"])];

fn escape_key<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    made(context, text.replace('~', "~0").replace('/', "~1"))
}
