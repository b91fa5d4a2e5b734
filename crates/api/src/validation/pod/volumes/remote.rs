//! Sources that lie outside of the node: network file systems, disks of clouds, drivers.

use super::super::super::at::{At, Out};
use super::super::super::read::{list, map, number, some, text, truth};
use super::super::super::{claims, formats};
use super::super::mounts;
use super::{Of, require};
use crate::Value;
use crate::names;

/// Fields that a source cannot do without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cephfs", &["monitors"]),
    ("rbd", &["monitors", "image"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &["volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];
const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
const CACHING: &[&str] = &["None", "ReadOnly", "ReadWrite"];
const DISKS: &[&str] = &["Dedicated", "Managed", "Shared"];
const MANAGED_DISK: &str =
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const BLOB_DISK: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

/// A source of this kind.
pub(super) fn source(out: &mut Out, at: At<'_>, kind: &str, source: &Value, of: Of) {
    let fields = REQUIRED.iter().find(|(k, _)| *k == kind).map_or(&[][..], |(_, fields)| fields);
    fields.iter().for_each(|field| require(out, at, source, field));
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = number(source, "partition").unwrap_or(0);
            if !(0..=255).contains(&partition) {
                out.invalid(at.child("partition"), partition, &formats::between(1, 255));
            }
        }
        "nfs" if !text(source, "path").starts_with('/') => {
            out.invalid(at.child("path"), text(source, "path"), "must be an absolute path");
        }
        "gitRepo" => mounts::descending(out, at.child("directory"), text(source, "directory")),
        "quobyte" => quobyte(out, at, source),
        "flocker" => flocker(out, at, source),
        "iscsi" => iscsi(out, at, source, of),
        "fc" => fibre_channel(out, at, source),
        "cinder" => secret(out, at.child("secretRef"), some(source, "secretRef"), of),
        "storageos" => {
            for key in ["volumeName", "volumeNamespace"] {
                let name = text(source, key);
                if !name.is_empty() {
                    out.invalid_each(at.child(key), name, names::dns_label(name));
                }
            }
            secret(out, at.child("secretRef"), some(source, "secretRef"), of);
        }
        "flexVolume" => flex(out, at.child("options"), source),
        "azureFile" if of == Of::Volume && source.get("secretNamespace").is_some_and(|n| n == "") => {
            out.required(at.child("secretNamespace"), "");
        }
        "azureDisk" => azure_disk(out, at, source),
        "csi" => csi(out, at, source),
        _ => {}
    }
}

/// A reference to a secret; one of a persistent volume says where it is.
fn secret(out: &mut Out, at: At<'_>, secret: Option<&Value>, of: Of) {
    let Some(secret) = secret else { return };
    require(out, at, secret, "name");
    if of == Of::Volume {
        require(out, at, secret, "namespace");
    }
}

fn quobyte(out: &mut Out, at: At<'_>, source: &Value) {
    let registry = text(source, "registry");
    if registry.is_empty() {
        out.required(at.child("registry"), PAIRS);
    } else if text(source, "tenant").len() >= 65 {
        out.required(at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        let wrong =
            |pair: &&str| !pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || bracketed(host));
        for _ in registry.split(',').filter(wrong) {
            out.invalid(at.child("registry"), registry, PAIRS);
        }
    }
    require(out, at, source, "volume");
}

fn bracketed(host: &str) -> bool {
    host.starts_with('[') && host.ends_with(']')
}

fn flocker(out: &mut Out, at: At<'_>, source: &Value) {
    let (name, id) = (text(source, "datasetName"), text(source, "datasetUUID"));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => out.required(at, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            out.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
        }
        _ => {}
    }
    if name.contains('/') {
        out.invalid(at.child("datasetName"), name, "must not contain '/'");
    }
}

fn iscsi(out: &mut Out, at: At<'_>, source: &Value, of: Of) {
    let prefixed = "must be valid format starting with iqn, eui, or naa";
    let initiator = some(source, "initiatorName").and_then(Value::as_str);
    let name = text(source, "iqn");
    if !name.is_empty() {
        let other = if of == Of::Pod { prefixed } else { "must be valid format" };
        qualified(out, at.child("iqn"), name, other);
    }
    let lun = number(source, "lun").unwrap_or(0);
    if !(0..=255).contains(&lun) {
        out.invalid(at.child("lun"), lun, &formats::between(0, 255));
    }
    let reference = some(source, "secretRef");
    if (truth(source, "chapAuthDiscovery") || truth(source, "chapAuthSession")) && reference.is_none() {
        out.required(at.child("secretRef"), "");
    }
    if let Some(reference) = reference.filter(|_| of == Of::Volume) {
        require(out, at.child("secretRef"), reference, "name");
    }
    if let Some(initiator) = initiator {
        qualified(out, at.child("initiatorname"), initiator, prefixed);
    }
}

/// An iSCSI name in one of its three forms; `other` is said of what has none of their prefixes.
fn qualified(out: &mut Out, at: At<'_>, name: &str, other: &str) {
    let alphanumeric = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric());
    // The separator of these two is any character, as upstream's expressions have it.
    let plain = |name: &str, length| name.get(4..).is_some_and(|rest| alphanumeric(rest, length));
    let fine = match name.get(..3) {
        Some("iqn") => iqn(name),
        Some("eui") => plain(name, 16),
        Some("naa") => plain(name, 32),
        _ => {
            out.invalid(at, name, other);
            return;
        }
    };
    if !fine {
        out.invalid(at, name, "must be valid format");
    }
}

/// `iqn.yyyy-mm.reversed.domain:unique`
fn iqn(name: &str) -> bool {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let Some((authority, unique)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let Some((month, domain)) = authority.split_once('.') else { return false };
    let dated = month.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    dated
        && !domain.is_empty()
        && domain.bytes().all(fine)
        && !unique.is_empty()
        && !unique.chars().any(|c| ",;*&$|".contains(c) || c.is_ascii_whitespace())
}

fn fibre_channel(out: &mut Out, at: At<'_>, source: &Value) {
    let (names, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => {
            out.required(at.child("targetWWNs"), "must specify either targetWWNs or wwids, but not both");
        }
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            out.invalid(at.child("targetWWNs"), names.to_vec(), detail);
        }
        _ => {}
    }
    if names.is_empty() {
        return;
    }
    match number(source, "lun") {
        None => out.required(at.child("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) if !(0..=255).contains(&lun) => out.invalid(at.child("lun"), lun, &formats::between(0, 255)),
        Some(_) => {}
    }
}

/// Options of a flex volume; some names are Kubernetes' own.
fn flex(out: &mut Out, at: At<'_>, source: &Value) {
    for (key, _) in map(source, "options").into_iter().flatten() {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_ascii_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            out.invalid(at.key(key), key.as_str(), "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn azure_disk(out: &mut Out, at: At<'_>, source: &Value) {
    let (caching, kind, uri) = (text(source, "cachingMode"), text(source, "kind"), text(source, "diskURI"));
    if !caching.is_empty() && !CACHING.contains(&caching) {
        out.not_supported(at.child("cachingMode"), caching, CACHING);
    }
    if kind.is_empty() {
        return;
    }
    if !DISKS.contains(&kind) {
        out.not_supported(at.child("kind"), kind, DISKS);
    }
    if kind == "Managed" && !uri.starts_with("/subscriptions/") {
        out.not_supported(at.child("diskURI"), uri, &[MANAGED_DISK]);
    } else if kind != "Managed" && !uri.starts_with("https://") {
        out.not_supported(at.child("diskURI"), uri, &[BLOB_DISK]);
    }
}

/// A volume that a driver makes for one pod.
fn csi(out: &mut Out, at: At<'_>, source: &Value) {
    claims::driver_name(out, at.child("driver"), text(source, "driver"));
    let Some(reference) = some(source, "nodePublishSecretRef") else { return };
    match text(reference, "name") {
        "" => out.required(at.child("nodePublishSecretRef.name"), ""),
        name => out.invalid_each(at.child("name"), name, names::dns_subdomain(name)),
    }
}
