//! Device classes, claims to devices, and what drivers offer.

use std::borrow::Cow;

use gantry_api::field::Errors;
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, validation, value};

use super::columns::{AGE, NAME, age, cells, column, name, of_field, text, text_or};
use super::{Column, Ctx, Row, Strategy, keep_metadata, metadata_field};
use crate::expressions::devices;
use crate::pipeline::metadata::time;

/// The strategy of device classes and of templates of claims.
pub(super) struct NameAndAge;
/// The strategy of claims.
pub(super) struct ResourceClaim;
/// The strategy of what drivers offer.
pub(super) struct ResourceSlice;

fn created(kind: &KindInfo, object: &Value) -> Errors {
    let mut errors = validation::create(kind, object);
    errors.extend(devices::errors(object, None));
    errors
}

fn updated(kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut errors = validation::update(kind, new, old);
    // Templates do not change at all.
    if kind.kind == "DeviceClass" {
        errors.extend(devices::errors(new, Some(old)));
    }
    errors
}

impl Strategy for NameAndAge {
    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        created(kind, object)
    }

    fn validate_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        updated(kind, new, old)
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, AGE] }
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(object), age(object, now)])
    }
}

/// What is said of devices that were allocated and are no more goes with them.
fn forget_deallocated(new: &mut Value, old: &Value) {
    let id = |device: &Value| ["driver", "pool", "device", "shareID"].map(|key| text(device, key).to_owned());
    let allocated = |claim: &Value| -> Vec<_> {
        value::list_at(claim, "status.allocation.devices.results").iter().map(id).collect()
    };
    let kept = allocated(new);
    let gone: Vec<_> = allocated(old).into_iter().filter(|device| !kept.contains(device)).collect();
    let Some(Value::Array(devices)) = value::get_mut(new, "status.devices") else { return };
    devices.retain(|device| !gone.contains(&id(device)));
    if devices.is_empty() {
        value::remove(new, "status.devices");
    }
}

impl Strategy for ResourceClaim {
    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        keep_metadata(new, old);
        forget_deallocated(new, old);
    }

    fn fixes_metadata(&self) -> bool {
        true
    }

    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        created(kind, object)
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("State", "string", "A summary of the current state (allocated, pending, reserved, etc.)."),
                AGE,
            ]
        }
    }

    fn row(&self, claim: &Value, now: jiff::Timestamp) -> Row {
        let mut states = Vec::new();
        let deleted = value::str_at(claim, "metadata.deletionTimestamp").is_some();
        if deleted {
            states.push("deleted");
        }
        if value::get(claim, "status.allocation").is_some_and(|a| !a.is_null()) {
            states.push("allocated");
            if !value::list_at(claim, "status.reservedFor").is_empty() {
                states.push("reserved");
            }
        } else if !deleted {
            states.push("pending");
        }
        cells(vec![name(claim), states.join(",").into(), age(claim, now)])
    }
}

impl Strategy for ResourceSlice {
    fn prepare_create(&self, ctx: &Ctx<'_>, slice: &mut Value) {
        time_taints(slice, None, ctx.now);
    }

    fn prepare_update(&self, ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        time_taints(new, Some(old), ctx.now);
    }

    fn warnings(&self, slice: &Value, _old: Option<&Value>) -> Vec<String> {
        let driver = text(slice, "spec.driver");
        let is_odd = driver.chars().any(char::is_uppercase);
        let told =
            || format!("spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters");
        is_odd.then(told).into_iter().collect()
    }

    fn field_value<'a>(&self, slice: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.nodeName" | "spec.driver" => Some(text(slice, path).into()),
            _ => metadata_field(slice, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Node", "string", "resource/v1.ResourceSliceSpec", "nodeName"),
                of_field("Driver", "string", "resource/v1.ResourceSliceSpec", "driver"),
                of_field("Pool", "string", "resource/v1.ResourcePool", "name"),
                AGE,
            ]
        }
    }

    fn row(&self, slice: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![
            name(slice),
            text_or(slice, "spec.nodeName", "<unset>").into(),
            text(slice, "spec.driver").into(),
            text(slice, "spec.pool.name").into(),
            age(slice, now),
        ])
    }
}

/// A taint without a time is new, unless it was there.
fn time_taints(slice: &mut Value, old: Option<&Value>, now: jiff::Timestamp) {
    let known = |device: &str, taint: &Value| {
        let before = value::list_at(old?, "spec.devices").iter().find(|d| text(d, "name") == device)?;
        let key = |t: &Value| ["key", "value", "effect"].map(|k| text(t, k).to_owned());
        let same = value::list_at(before, "taints").iter().find(|t| key(t) == key(taint))?;
        value::get(same, "timeAdded").cloned()
    };
    let Some(Value::Array(devices)) = value::get_mut(slice, "spec.devices") else { return };
    for device in devices {
        let device_name = text(device, "name").to_owned();
        let Some(Value::Array(taints)) = value::get_mut(device, "taints") else { continue };
        for taint in taints.iter_mut().filter(|t| t.is_object() && t.get("timeAdded").is_none_or(Value::is_null)) {
            let at = known(&device_name, taint).unwrap_or_else(|| time(now).into());
            value::set(taint, "timeAdded", at);
        }
    }
}
