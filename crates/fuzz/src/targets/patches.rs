//! Patches of each sort: they end, stay in bounds, and hold the laws of their RFCs. The input is an object and a patch, both JSON,
//! with a zero byte between them.

use gantry_api::managed::{self, Write};
use gantry_api::{Value, decode, patch};

use crate::body;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let Some(middle) = bytes.iter().position(|b| *b == 0) else { return };
    let (Ok((mut object, _)), Ok((change, _))) =
        (decode::json(&bytes[..middle], false), decode::json(&bytes[middle + 1..], false))
    else {
        return;
    };
    let kind = body::kind_of(&object).unwrap_or_else(|| body::kind(*choice));
    if decode::conform(&mut object, kind).is_err() {
        return;
    }
    if let Ok(merged) = patch::merge(&object, &change) {
        assert_eq!(patch::merge(&merged, &change).as_ref(), Ok(&merged), "a merge patch twice");
    }
    if let Ok(patched) = patch::json(&object, &change) {
        let least = object.to_string().len() + change.to_string().len();
        assert!(patched.to_string().len() <= 2 * least + 8 * 1024 * 1024, "a JSON patch grows without bound");
    }
    let _ = patch::strategic(&object, &change, &kind.type_name).map(|mut new| decode::conform(&mut new, kind));
    apply(kind, &object, &change);
}

/// Server-side apply: what was applied can be applied again, and then nothing changes.
fn apply(kind: &'static gantry_api::kinds::KindInfo, live: &Value, config: &Value) {
    let write = Write {
        manager: "one",
        api_version: &kind.api_version,
        ty: kind.into(),
        subresource: "",
        reset: &[],
        settable: &[],
        now: Default::default(),
    };
    let Ok(mut first) = managed::apply(Some(live), config, &write, true) else { return };
    if decode::conform(&mut first, kind).is_err() {
        return;
    }
    let mut again = managed::apply(Some(&first), config, &write, false).expect("nobody else owns it");
    decode::conform(&mut again, kind).expect("it conformed before");
    assert_eq!(again, first, "applied twice");
}
