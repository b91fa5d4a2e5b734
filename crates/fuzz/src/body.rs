//! Laws of objects that were read from a body, whatever the encoding.

use gantry_api::kinds::{self, KindInfo};
use gantry_api::{Value, canon, convert, decode, defaults, validation};

/// One of the kinds.
pub(crate) fn kind(choice: u8) -> &'static KindInfo {
    let all = kinds::all();
    &all[usize::from(choice) % all.len()]
}

/// The kind that an object says it is.
pub(crate) fn kind_of(object: &Value) -> Option<&'static KindInfo> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = kinds::split_api_version(text("apiVersion"));
    kinds::by_kind(group, version, text("kind"))
}

/// Conforms an object to its type and holds the laws against it.
pub(crate) fn conformed(kind: &'static KindInfo, mut object: Value) {
    if decode::conform(&mut object, kind).is_err() {
        return;
    }
    fixed(&object, kind);
    convert::to_hub(kind, &mut object);
    if defaults::apply(kind, &mut object).is_err() {
        return;
    }
    let once = object.clone();
    assert!(defaults::apply(kind, &mut object).is_ok() && object == once, "defaults of defaults");
    if kind.stored() {
        // Whatever it says: only that it ends.
        let _ = validation::create(kind, &object);
        let _ = validation::update(kind, &object, &once);
    }
    let hub = kind.hub();
    if let Err(status) = canon::canonical(&mut object, hub) {
        // What another version keeps in annotations is of no type until it is converted: a write is refused here.
        assert!(!std::ptr::eq(kind, hub), "what conforms stays so with its defaults: {status:?}");
        return;
    }
    fixed(&object, hub);
    convert::from_hub(kind, &mut object);
}

/// What conforms does so again unchanged, and its bytes say the same.
fn fixed(object: &Value, kind: &KindInfo) {
    let mut again = object.clone();
    let unknown = decode::conform(&mut again, kind).expect("it conforms");
    assert_eq!((&again, unknown), (object, Vec::new()), "conforming twice");
    let bytes = canon::encode(object);
    let read: Value = serde_json::from_slice(&bytes).expect("canonical JSON");
    assert_eq!(canon::encode(&read), bytes, "canonical form");
}
