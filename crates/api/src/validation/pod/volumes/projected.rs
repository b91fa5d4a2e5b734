//! Projected volumes: files from several sources in one directory; and files about the pod itself.

use super::super::super::at::{At, Out};
use super::super::super::read::{Seen, list, number, repeats, some, text};
use super::super::super::{certificate, selector};
use super::{file_path, items, mode, require, sources};
use crate::Value;
use crate::names;

const CONFLICT: &str = "conflicting duplicate paths";

/// A file about the pod; upstream's paths of errors do not say which one.
pub(super) fn downward(out: &mut Out, at: At<'_>, file: &Value) {
    file_path(out, at.child("path"), text(file, "path"));
    match (some(file, "fieldRef"), some(file, "resourceFieldRef")) {
        (Some(field), other) => {
            sources::field_ref(out, at.child("fieldRef"), field, sources::FILE_FIELDS);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                out.invalid(at, "resource", detail);
            }
        }
        (None, Some(resource)) => sources::resource_ref(out, at.child("resourceFieldRef"), resource, true),
        (None, None) => out.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(out, at.child("mode"), number(file, "mode"));
}

/// A projected volume.
pub(super) fn projected(out: &mut Out, at: At<'_>, source: &Value) {
    mode(out, at.child("defaultMode"), number(source, "defaultMode"));
    let mut paths = Seen::new();
    let sources_at = at.child("sources");
    for (index, part) in list(source, "sources").iter().enumerate() {
        let item = sources_at.index(index);
        let mut count = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"] {
            let Some(projection) = some(part, kind) else { continue };
            count += 1;
            files(out, item.child(kind), at, kind, projection);
            let own = Some(text(projection, "path")).filter(|p| kind == "clusterTrustBundle" && !p.is_empty());
            let of_items = list(projection, "items").iter().map(|i| text(i, "path")).filter(|p| !p.is_empty());
            for path in of_items.chain(own) {
                if repeats(&mut paths, path) {
                    let named = matches!(kind, "secret" | "configMap");
                    out.invalid(at, if named { text(projection, "name") } else { path }, CONFLICT);
                }
            }
        }
        if count > 1 {
            out.forbidden(item, "may not specify more than 1 volume type per source");
        }
    }
}

/// One source at `at` of the volume at `volume`.
fn files(out: &mut Out, at: At<'_>, volume: At<'_>, kind: &str, projection: &Value) {
    match kind {
        "secret" | "configMap" => {
            require(out, at, projection, "name");
            items(out, at.child("items"), list(projection, "items"));
        }
        "downwardAPI" => list(projection, "items").iter().for_each(|file| downward(out, at, file)),
        "serviceAccountToken" => token(out, at, volume, projection),
        _ => trust_bundle(out, at, projection),
    }
}

fn token(out: &mut Out, at: At<'_>, volume: At<'_>, token: &Value) {
    let seconds = number(token, "expirationSeconds").unwrap_or(0);
    if seconds < 600 {
        out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // Upstream names the volume's path here.
    file_path(out, volume.child("path"), text(token, "path"));
}

fn trust_bundle(out: &mut Out, at: At<'_>, bundle: &Value) {
    match (some(bundle, "name"), some(bundle, "signerName")) {
        (Some(_), Some(_)) => out.invalid_of(
            at,
            "*core/v1.ClusterTrustBundleProjection",
            bundle,
            "only one of name and signerName may be used",
        ),
        (Some(name), None) => {
            let name = name.as_str().unwrap_or_default();
            if name.is_empty() {
                out.required(at.child("name"), "must be a valid object name");
            }
            // A bundle of a signer is named `<signer, with : for />:<name>`.
            let own = name.rsplit_once(':').map_or(name, |(_, own)| own);
            for detail in names::dns_subdomain(own) {
                out.invalid(at.child("name"), name, &format!("not a valid clustertrustbundlename: {detail}"));
            }
            if let Some(labels) = some(bundle, "labelSelector") {
                let detail = "labelSelector must be unset if name is specified";
                out.invalid_of(at.child("labelSelector"), "*meta/v1.LabelSelector", labels, detail);
            }
        }
        (None, Some(signer)) => {
            let at_signer = at.child("signerName");
            let signer = signer.as_str().unwrap_or_default();
            if signer.is_empty() {
                out.required(at_signer, "must be a valid signer name");
            }
            certificate::signer_name(out, at_signer, signer);
            if let Some(labels) = some(bundle, "labelSelector") {
                selector::label_selector(out, at.child("labelSelector"), labels);
            }
        }
        (None, None) => out.required(at, "either name or signerName must be specified"),
    }
    file_path(out, at.child("path"), text(bundle, "path"));
}
