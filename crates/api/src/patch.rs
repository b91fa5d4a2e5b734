//! The three patch types that rewrite an object: JSON patch, merge patch, strategic merge patch.

use crate::Value;
use crate::status::Status;
use crate::value::{MAX_LEVELS, is_deeper_than};

mod fault;
mod strategic;

pub use fault::TEST_FAILED;
pub use strategic::strategic;

/// Upstream's bound on the operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of one patch may add, so that a small patch cannot grow without bound.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// What all `move` operations of one patch may move: each looks at what it moves.
const MAX_MOVED_BYTES: usize = 64 * 1024 * 1024;
/// What all operations of one patch may shift in lists: whatever is put in or taken out moves all that is behind it.
const MAX_SHIFTED_BYTES: usize = 1024 * 1024 * 1024;

/// Applies an RFC 6902 patch. Nothing is changed when one operation fails.
///
/// # Errors
/// 413 for too many operations, 422 when an operation does not exist or cannot be applied, a test fails, or the result would nest
/// deeper than [`MAX_LEVELS`].
pub fn json(doc: &Value, patch: &Value) -> Result<Value, Status> {
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > MAX_OPERATIONS {
        let why = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {operations}");
        return Err(Status::too_large(&why));
    }
    let mut patch = patch.clone();
    for operation in patch.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if operation.get("op").is_some_and(|op| op == "test") {
            operation.entry("value").or_insert(Value::Null);
        }
    }
    // An operation that does not exist, or that lacks a part, is found when it is to be done.
    let patch: json_patch::Patch = serde_json::from_value(patch).map_err(|e| unprocessable(&e.to_string()))?;
    let mut result = doc.clone();
    let mut bounds = Bounds::default();
    for asked in patch.0 {
        let operation = &counted(&result, filled(&result, asked.clone()));
        bounds.check(&result, operation)?;
        if let json_patch::PatchOperation::Test(test) = operation
            && test.value.is_null()
            && is_open(&result, test.path.as_str())
        {
            continue;
        }
        // Of all operations only a move that fails has changed something.
        let before = matches!(asked, json_patch::PatchOperation::Move(_)).then(|| fault::fault(&result, &asked));
        // The result is thrown away when an operation fails, so nothing needs to be undone.
        if let Err(error) = json_patch::patch_unsafe(&mut result, std::slice::from_ref(operation)) {
            let fault = before.unwrap_or_else(|| fault::fault(&result, &asked));
            return Err(unprocessable(&fault.unwrap_or_else(|| error.to_string())));
        }
    }
    Ok(result)
}

/// What the operations of one patch have done so far.
#[derive(Default)]
struct Bounds {
    copied_bytes: usize,
    moved_bytes: usize,
    shifted_bytes: usize,
}

impl Bounds {
    /// Counts what the operation shifts in lists.
    fn shift(&mut self, doc: &Value, operation: &json_patch::PatchOperation) -> Result<(), Status> {
        use json_patch::PatchOperation::{Add, Copy, Move, Remove, Replace, Test};
        let items = match operation {
            Add(add) => behind(doc, add.path.as_str()),
            Copy(copy) => behind(doc, copy.path.as_str()),
            Move(step) => behind(doc, step.from.as_str()) + behind(doc, step.path.as_str()),
            Remove(remove) => behind(doc, remove.path.as_str()),
            Replace(_) | Test(_) => 0,
        };
        self.shifted_bytes += items * size_of::<Value>();
        if self.shifted_bytes > MAX_SHIFTED_BYTES {
            let why =
                format!("the operations of the JSON patch shift more than {MAX_SHIFTED_BYTES} bytes within lists");
            return Err(Status::failure(422, "Invalid", why));
        }
        Ok(())
    }

    /// Before each operation, so that no tree is ever deeper than what may be walked by recursion.
    fn check(&mut self, doc: &Value, operation: &json_patch::PatchOperation) -> Result<(), Status> {
        use json_patch::PatchOperation::{Add, Copy, Move, Remove, Replace, Test};
        self.shift(doc, operation)?;
        let (path, value) = match operation {
            Add(add) => (&add.path, Some(&add.value)),
            Replace(replace) => (&replace.path, Some(&replace.value)),
            Copy(copy) => {
                let value = doc.pointer(copy.from.as_str());
                self.copied_bytes += value.map_or(0, size);
                if self.copied_bytes > MAX_COPIED_BYTES {
                    return Err(unprocessable(&format!("the copy operations add more than {MAX_COPIED_BYTES} bytes")));
                }
                (&copy.path, value)
            }
            Move(step) => {
                let value = doc.pointer(step.from.as_str());
                self.moved_bytes += value.map_or(0, size);
                if self.moved_bytes > MAX_MOVED_BYTES {
                    let why = format!("the move operations of the JSON patch move more than {MAX_MOVED_BYTES} bytes");
                    return Err(Status::failure(422, "Invalid", why));
                }
                (&step.path, value)
            }
            Remove(_) | Test(_) => return Ok(()),
        };
        let left = MAX_LEVELS.checked_sub(path.tokens().count());
        if left.is_none_or(|left| value.is_some_and(|value| is_deeper_than(value, left))) {
            let why = format!("the JSON patch makes the object nest deeper than {MAX_LEVELS} levels of maps and lists");
            return Err(Status::failure(422, "Invalid", why));
        }
        Ok(())
    }
}

/// The operation as upstream does it where a map does not have a key: what is to be replaced is added, and null is copied.
fn filled(doc: &Value, operation: json_patch::PatchOperation) -> json_patch::PatchOperation {
    use json_patch::PatchOperation::{Add, Copy, Replace};
    let (path, value) = match operation {
        Replace(replace) if is_open(doc, replace.path.as_str()) => (replace.path, replace.value),
        Copy(copy) if is_open(doc, copy.from.as_str()) => (copy.path, Value::Null),
        operation => return operation,
    };
    Add(json_patch::AddOperation { path, value })
}

/// How many items of a list are behind the place that a path ends in.
fn behind(doc: &Value, path: &str) -> usize {
    let Some((list, place)) = path.rsplit_once('/') else { return 0 };
    let list = doc.pointer(list).and_then(Value::as_array).map_or(0, Vec::len);
    // Where something is added at the end there is nothing behind it.
    place.parse().map_or(0, |place| list.saturating_sub(place))
}

/// The operation with its places in lists counted from their beginning. Upstream's patches may count from the end: -1 is the
/// last one, and where something is added, the place behind it.
fn counted(doc: &Value, mut operation: json_patch::PatchOperation) -> json_patch::PatchOperation {
    use json_patch::PatchOperation::{Add, Copy, Move, Remove, Replace, Test};
    let (from, (path, room)) = match &mut operation {
        Add(o) => (None, (&mut o.path, 1)),
        Copy(o) => (Some(&mut o.from), (&mut o.path, 1)),
        Move(o) => (Some(&mut o.from), (&mut o.path, 1)),
        Remove(o) => (None, (&mut o.path, 0)),
        Replace(o) => (None, (&mut o.path, 0)),
        Test(o) => (None, (&mut o.path, 0)),
    };
    for (pointer, room) in from.map(|from| (from, 0)).into_iter().chain([(path, room)]) {
        if let Ok(positive) = positive(doc, pointer.as_str(), room).parse() {
            *pointer = positive;
        }
    }
    operation
}

/// The path without negative places; the last list has `room` places more than there are in it.
fn positive(doc: &Value, path: &str, room: usize) -> String {
    let mut at = Some(doc);
    let mut out = String::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let list = at.and_then(Value::as_array);
        let room = if parts.peek().is_none() { room } else { 0 };
        let back = part.strip_prefix('-').and_then(|back| back.parse::<usize>().ok());
        let place = list.zip(back).and_then(|(list, back)| (list.len() + room).checked_sub(back));
        let part = place.map_or_else(|| part.to_owned(), |place| place.to_string());
        at = at.and_then(|at| at.pointer(&format!("/{part}")));
        out.push('/');
        out.push_str(&part);
    }
    out
}

/// Whether a path ends in a map that does not have its key. To upstream that is null, which clients test for before they add.
fn is_open(doc: &Value, path: &str) -> bool {
    let map = path.rsplit_once('/').and_then(|(parent, _)| doc.pointer(parent));
    map.is_some_and(Value::is_object) && doc.pointer(path).is_none()
}

/// The bytes of a value, roughly as its JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(s) => s.len() + 2,
        Value::Array(list) => 2 + list.iter().map(|v| size(v) + 1).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(k, v)| k.len() + 4 + size(v)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
    }
}

/// Applies an RFC 7386 patch.
///
/// # Errors
/// 400 when the patch is not an object.
pub fn merge(doc: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("error decoding patch: a merge patch is a JSON object"));
    }
    let mut result = doc.clone();
    json_patch::merge(&mut result, patch);
    Ok(result)
}

/// Upstream's answer to a patch that cannot be applied; the cause says why.
fn unprocessable(why: &str) -> Status {
    Status::failure(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_cause("", why, "")
}

#[cfg(test)]
mod tests;
