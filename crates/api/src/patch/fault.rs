//! Why an operation of a JSON patch does not apply, in the words of the library that upstream uses (evanphx/json-patch v4).

use json_patch::PatchOperation::{self, Add, Copy, Move, Remove, Replace, Test};

use crate::Value;
use crate::go::quoted;

/// What a message ends with where a test has not held.
pub const TEST_FAILED: &str = "test failed";

/// Where a path ends.
enum End<'d> {
    /// Nothing holds it.
    Nowhere,
    Map {
        is_there: bool,
    },
    List(&'d [Value]),
}

fn end<'d>(doc: &'d Value, path: &str) -> End<'d> {
    match path.rsplit_once('/').and_then(|(parent, _)| doc.pointer(parent)) {
        Some(Value::Object(_)) => End::Map { is_there: doc.pointer(path).is_some() },
        Some(Value::Array(list)) => End::List(list),
        _ => End::Nowhere,
    }
}

fn key(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// Why a list does not have such a place; with `room` for one behind its end.
fn no_place(list: &[Value], path: &str, room: usize) -> Option<String> {
    let key = key(path);
    match key.parse::<i64>() {
        Err(_) => Some(format!("strconv.Atoi: parsing {}: invalid syntax", quoted(&key))),
        Ok(at) => {
            let places = (list.len() + room) as i64;
            (at >= places || at < -places)
                .then(|| format!("Unable to access invalid index: {at}: invalid index referenced"))
        }
    }
}

/// Why nothing can be put there.
fn no_room(doc: &Value, path: &str) -> Option<String> {
    let End::List(list) = end(doc, path) else { return None };
    let key = key(path);
    let why = no_place(list, path, 1).filter(|_| key != "-")?;
    Some(if why.starts_with("strconv") { format!("value was not a proper array index: '{key}': {why}") } else { why })
}

/// Why an operation does not apply to what is there before it; nothing where that is not known.
pub(super) fn fault(doc: &Value, operation: &PatchOperation) -> Option<String> {
    let missing = |what: &str, path: &str| Some(format!("{what}: {path}: missing value"));
    let gone = |path: &str| format!("Unable to remove nonexistent key: {}: missing value", key(path));
    match operation {
        Add(add) => {
            let path = add.path.as_str();
            match end(doc, path) {
                End::Nowhere => missing("add operation does not apply: doc is missing path", &format!("\"{path}\"")),
                _ => no_room(doc, path).map(|why| format!("error in add for path: '{path}': {why}")),
            }
        }
        Remove(remove) => {
            let path = remove.path.as_str();
            let why = match end(doc, path) {
                End::Nowhere => {
                    return missing("remove operation does not apply: doc is missing path", &format!("\"{path}\""));
                }
                End::Map { .. } => gone(path),
                End::List(list) => no_place(list, path, 0)?,
            };
            Some(format!("error in remove for path: '{path}': {why}"))
        }
        Replace(replace) => {
            let path = replace.path.as_str();
            match end(doc, path) {
                End::Nowhere => missing("replace operation does not apply: doc is missing path", path),
                _ => missing("replace operation does not apply: doc is missing key", path),
            }
        }
        Test(test) => {
            let path = test.path.as_str();
            let failed = || Some(format!("testing value {path} failed: {TEST_FAILED}"));
            match end(doc, path) {
                End::Nowhere if path.is_empty() => failed(),
                End::Nowhere => missing("test operation does not apply: is missing path", path),
                End::Map { .. } => failed(),
                End::List(list) => match no_place(list, path, 0) {
                    Some(why) => Some(format!("error in test for path: '{path}': {why}")),
                    None => failed(),
                },
            }
        }
        Move(step) => {
            let (from, path) = (step.from.as_str(), step.path.as_str());
            let (at, why) = match end(doc, from) {
                End::Nowhere => return missing("move operation does not apply: doc is missing from path", from),
                End::Map { is_there: false } => (key(from), gone(from)),
                End::List(list) if no_place(list, from, 0).is_some() => (key(from), no_place(list, from, 0)?),
                _ if matches!(end(doc, path), End::Nowhere) => {
                    return missing("move operation does not apply: doc is missing destination path", path);
                }
                _ => (path.to_owned(), no_room(doc, path)?),
            };
            Some(format!("error in move for path: '{at}': {why}"))
        }
        Copy(copy) => {
            let (from, path) = (copy.from.as_str(), copy.path.as_str());
            match end(doc, from) {
                End::Nowhere => missing("copy operation does not apply: doc is missing from path", from),
                End::List(list) if no_place(list, from, 0).is_some() => {
                    no_place(list, from, 0).map(|why| format!("error in copy for from: '{from}': {why}"))
                }
                _ if matches!(end(doc, path), End::Nowhere) => {
                    missing("copy operation does not apply: doc is missing destination path", path)
                }
                _ => no_room(doc, path).map(|why| format!("error while adding value during copy: {why}")),
            }
        }
    }
}
