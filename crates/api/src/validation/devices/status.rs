//! What was allocated for a claim, and who uses it.

use std::collections::HashSet;
use std::net::IpAddr;

use super::super::at::{At, Out, same};
use super::super::conditions;
use super::super::read::{Seen, list, repeats, some, text};
use super::super::selector;
use super::{ITEMS, at_most, driver_name, opaque, pool_name, reference, references, request_name, shares, unique};
use crate::Value;
use crate::field::go_escaped;

const UNSET: Value = Value::Null;
/// The most consumers of a claim, devices of an allocation, and conditions of one of them.
const CONSUMERS: usize = 256;
const RESULTS: usize = 32;
const CONDITIONS: usize = 8;
/// The longest name of an interface and hardware address, and the most addresses of a device.
const INTERFACE_BYTES: usize = 256;
const HARDWARE_BYTES: usize = 128;
const ADDRESSES: usize = 16;
/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`
const UUID_BYTES: usize = 36;

/// The status of a claim: who uses what was allocated.
pub(in super::super) fn claim_status(out: &mut Out, new: &Value, old: &Value) {
    let status = |object| some(object, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    let (new_status, old_status) = (status(new), status(old));
    let consumers_at = at.child("reservedFor");
    let consumers = at_most(out, consumers_at, list(new_status, "reservedFor"), CONSUMERS);
    for (index, consumer) in consumers.iter().enumerate() {
        let at = consumers_at.index(index);
        for key in ["resource", "name", "uid"] {
            if text(consumer, key).is_empty() {
                out.required(at.child(key), "");
            }
        }
    }
    unique(out, consumers_at, consumers.iter().map(|consumer| text(consumer, "uid")));
    let (now, before) = (some(new_status, "allocation"), some(old_status, "allocation"));
    devices(out, at.child("devices"), list(new_status, "devices"), now.unwrap_or(&UNSET));
    let reserved: HashSet<&Value> = list(old_status, "reservedFor").iter().collect();
    let added = list(new_status, "reservedFor").iter().any(|c| !reserved.contains(c));
    if now.is_none() && !list(new_status, "reservedFor").is_empty() {
        out.forbidden(consumers_at, "may not be specified when `allocated` is not set");
    } else if added && some(new, "metadata").is_some_and(|m| some(m, "deletionTimestamp").is_some()) {
        out.forbidden(
            consumers_at,
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
        );
    }
    match (now, before) {
        // What was allocated may be given back, not exchanged.
        (Some(_), Some(_)) if same(now, before) => {}
        (Some(found), Some(_)) => {
            out.invalid_of(at.child("allocation"), "*resource/v1.AllocationResult", found, "field is immutable")
        }
        (Some(found), None) => allocation(out, at.child("allocation"), found, new),
        (None, _) => {}
    }
}

/// A new allocation, which answers the requests of its claim.
fn allocation(out: &mut Out, at: At<'_>, found: &Value, claim: &Value) {
    let asked = some(claim, "spec").and_then(|spec| some(spec, "devices")).unwrap_or(&UNSET);
    let requests = super::request_names(asked);
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    let allocated = some(found, "devices").unwrap_or(&UNSET);
    let whole_at = at;
    let at = at.child("devices");
    let results_at = at.child("results");
    for (index, result) in at_most(out, results_at, list(allocated, "results"), RESULTS).iter().enumerate() {
        let at = results_at.index(index);
        reference(out, at.child("request"), text(result, "request"), &requests);
        device_id(out, at, result);
        shares::binding(out, at, result);
        share(out, at, result);
    }
    if let Some(nodes) = some(found, "nodeSelector") {
        let at = whole_at.child("nodeSelector");
        selector::node_selector(out, at, nodes);
        selector::node_label_values(out, at.child("nodeSelectorTerms"), list(nodes, "nodeSelectorTerms"));
    }
    let config_at = at.child("config");
    for (index, found) in at_most(out, config_at, list(allocated, "config"), 2 * ITEMS).iter().enumerate() {
        let at = config_at.index(index);
        out.one_of(at.child("source"), text(found, "source"), &["FromClaim", "FromClass"]);
        references(out, at.child("requests"), list(found, "requests"), &requests);
        opaque(out, at.child("opaque"), found);
    }
}

/// Which device it is.
fn device_id(out: &mut Out, at: At<'_>, found: &Value) {
    driver_name(out, at.child("driver"), text(found, "driver"));
    pool_name(out, at.child("pool"), text(found, "pool"));
    request_name(out, at.child("device"), text(found, "device"));
}

/// Which share of a device it is.
fn share(out: &mut Out, at: At<'_>, found: &Value) {
    let Some(id) = some(found, "shareID").and_then(Value::as_str) else { return };
    let at = at.child("shareID");
    if let Err(why) = uuid_form(id) {
        out.invalid(at, id, &format!("error validating uid: {why}"));
    } else if id.len() != UUID_BYTES || id.bytes().any(|b| b.is_ascii_uppercase()) {
        let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
            hexadecimal characters";
        out.invalid(at, id, detail);
    }
}

/// Whether it is a UUID in one of the forms that upstream's parser knows: plain, as a URN, in braces, without hyphens.
fn uuid_form(text: &str) -> Result<(), String> {
    let invalid = || Err("invalid UUID format".to_owned());
    let bytes = text.as_bytes();
    let plain = match bytes.len() {
        UUID_BYTES => bytes,
        45 if !bytes[..9].eq_ignore_ascii_case(b"urn:uuid:") => {
            return Err(format!("invalid urn prefix: {:?}", String::from_utf8_lossy(&bytes[..9])));
        }
        45 => &bytes[9..],
        38 if bytes[0] != b'{' || bytes[37] != b'}' => return Err("invalid bracketed UUID format".to_owned()),
        38 => &bytes[1..37],
        32 if bytes.iter().all(u8::is_ascii_hexdigit) => return Ok(()),
        32 => return invalid(),
        length => return Err(format!("invalid UUID length: {length}")),
    };
    let fits = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    if plain.iter().enumerate().all(fits) { Ok(()) } else { invalid() }
}

/// What drivers say of devices that are allocated.
fn devices(out: &mut Out, at: At<'_>, found: &[Value], allocation: &Value) {
    // As Go shows the structure of it.
    let id = |device: &Value| {
        let quoted = |key| Value::from(text(device, key)).to_string();
        let [driver, pool, name, share] = ["driver", "pool", "device", "shareID"].map(quoted);
        go_escaped(format!(r#"{{"Driver":{driver},"Pool":{pool},"Device":{name},"ShareID":{share}}}"#))
    };
    let results = list(some(allocation, "devices").unwrap_or(&UNSET), "results");
    let known: HashSet<String> = results.iter().map(id).collect();
    let ids: Vec<String> = found.iter().map(id).collect();
    for (index, (device, id)) in found.iter().zip(&ids).enumerate() {
        let at = at.index(index);
        device_id(out, at, device);
        share(out, at, device);
        if !known.contains(id) {
            out.invalid_as(at, id, "must be an allocated device in the claim");
        }
        let (conditions_at, conditions) = (at.child("conditions"), list(device, "conditions"));
        if conditions.len() > CONDITIONS {
            out.too_many(conditions_at, conditions.len(), CONDITIONS);
        }
        conditions::conditions(out, conditions_at, conditions);
        if let Some(data) = some(device, "data") {
            super::raw(out, at.child("data"), Some(data));
        }
        if let Some(data) = some(device, "networkData") {
            network_data(out, at.child("networkData"), data);
        }
    }
    let mut seen = Seen::new();
    for (index, id) in ids.iter().enumerate() {
        if repeats(&mut seen, id) {
            out.duplicate_as(at.index(index), id);
        }
    }
}

/// Where a device stands in a network.
fn network_data(out: &mut Out, at: At<'_>, data: &Value) {
    for (key, max) in [("interfaceName", INTERFACE_BYTES), ("hardwareAddress", HARDWARE_BYTES)] {
        if text(data, key).len() > max {
            out.too_long(at.child(key), max);
        }
    }
    let at = at.child("ips");
    let addresses = at_most(out, at, list(data, "ips"), ADDRESSES);
    let addresses: Vec<&str> = addresses.iter().map(|address| address.as_str().unwrap_or_default()).collect();
    for (index, address) in addresses.iter().enumerate() {
        match interface_address(address) {
            None => {
                let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
                out.invalid(at.index(index), *address, detail);
            }
            Some(found) if found != *address => {
                out.invalid(at.index(index), *address, &format!("must be in canonical form (\"{found}\")"));
            }
            Some(_) => {}
        }
    }
    unique(out, at, addresses.into_iter());
}

/// An address and the bits of its network, in canonical form.
fn interface_address(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then(|| format!("{address}/{bits}"))
}
