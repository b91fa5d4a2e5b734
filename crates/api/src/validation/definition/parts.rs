//! The parts of a definition beside its schemas.

use super::text;
use crate::Value;
use crate::custom::JsonPath;
use crate::custom::schema::{Schema, SchemaType};
use crate::names::dns_1035_label;
use crate::validation::at::{At, Out};
use crate::value::{get, list_at, str_at};

/// Selectable fields of one version.
const MAX_SELECTABLE: usize = 8;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn names(out: &mut Out, at: At<'_>, names: &Value) {
    let mut check = |name: &str, mixed: bool| {
        let found = text(names, name);
        let wrong = dns_1035_label(&if mixed { found.to_lowercase() } else { found.to_owned() });
        if !found.is_empty() && !wrong.is_empty() {
            let head = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            out.invalid(at.child(name), found, &format!("{head}{}", wrong.join(",")));
        }
    };
    check("plural", false);
    check("singular", false);
    check("kind", true);
    check("listKind", true);
    for list in ["shortNames", "categories"] {
        for (index, name) in list_at(names, list).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let wrong = dns_1035_label(name);
            if !wrong.is_empty() {
                out.invalid(at.child(list).index(index), name, &wrong.join(","));
            }
        }
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        out.invalid(at.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
}

pub(super) fn conversion(out: &mut Out, definition: &Value) {
    let at = At::Root("spec.conversion");
    let Some(conversion) = get(definition, "spec.conversion") else { return };
    let strategy = text(conversion, "strategy");
    out.one_of(at.child("strategy"), strategy, &["None", "Webhook"]);
    let webhook = get(conversion, "webhook");
    if strategy == "None" && webhook.is_some() {
        out.forbidden(at.child("webhook"), "should not be set when strategy is not set to Webhook");
    }
    if strategy != "Webhook" {
        return;
    }
    let at = at.child("webhook");
    let Some(config) = webhook.and_then(|w| w.get("clientConfig")).filter(|c| c.is_object()) else {
        out.required(
            at.child("clientConfig"),
            "required when strategy is set to Webhook, but not allowed because the webhook configuration is missing",
        );
        return;
    };
    client_config(out, at.child("clientConfig"), config);
    let versions = webhook.map_or(&[][..], |w| list_at(w, "conversionReviewVersions"));
    let at = at.child("conversionReviewVersions");
    if versions.is_empty() {
        out.required(at, "");
    } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        out.invalid(at, versions.to_vec(), "must include at least one of v1, v1beta1");
    }
}

fn client_config(out: &mut Out, at: At<'_>, config: &Value) {
    let (url, service) = (str_at(config, "url"), get(config, "service").filter(|s| s.is_object()));
    match (url, service) {
        (None, None) | (Some(_), Some(_)) => {
            out.required(at, "exactly one of url or service is required");
        }
        (Some(url), None) => {
            if !url.starts_with("https://") {
                out.invalid(at.child("url"), url, "'https' is the only allowed URL scheme");
            }
        }
        (None, Some(service)) => {
            for part in ["name", "namespace"] {
                if text(service, part).is_empty() {
                    out.required(at.child("service").child(part), &format!("service {part} is required"));
                }
            }
            let path = text(service, "path");
            if !path.is_empty() && !path.starts_with('/') {
                out.invalid(at.child("service").child("path"), path, "must start with a '/'");
            }
        }
    }
}

fn simple_path(out: &mut Out, at: At<'_>, path: &str) -> bool {
    if path.starts_with('.') {
        return true;
    }
    out.invalid(at, path, "must be a simple json path starting with .");
    false
}

pub(super) fn columns(out: &mut Out, at: At<'_>, list: &[Value]) {
    for (index, column) in list.iter().enumerate() {
        let at = at.index(index);
        if text(column, "name").is_empty() {
            out.required(at.child("name"), "");
        }
        let why = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(column, "type") {
            "" => out.required(at.child("type"), &why),
            ty if !COLUMN_TYPES.contains(&ty) => out.invalid(at.child("type"), ty, &why),
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            out.invalid(at.child("format"), format, &format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        match text(column, "jsonPath") {
            "" => out.required(at.child("jsonPath"), ""),
            path => drop(simple_path(out, at.child("jsonPath"), path)),
        }
    }
}

pub(super) fn subresources(out: &mut Out, at: At<'_>, subresources: &Value) {
    let Some(scale) = get(subresources, "scale").filter(|scale| scale.is_object()) else { return };
    let mut check = |name: &str, root: &str, required: bool| {
        let (at, path) = (at.child("scale"), text(scale, name));
        if path.is_empty() {
            if required {
                out.required(at.child(name), "");
            }
        } else if simple_path(out, at.child(name), path) && !path.starts_with(&format!("{root}.")) {
            out.invalid(at.child(name), path, &format!("should be a json path under {root}"));
        }
    };
    check("specReplicasPath", ".spec", true);
    check("statusReplicasPath", ".status", true);
    if text(scale, "labelSelectorPath").starts_with(".spec.") {
        return;
    }
    check("labelSelectorPath", ".status", false);
}

pub(super) fn selectable_fields(out: &mut Out, at: At<'_>, version: &Value, schema: &Value) {
    let list = list_at(version, "selectableFields");
    if list.len() > MAX_SELECTABLE {
        out.too_many(at, list.len(), MAX_SELECTABLE);
        return;
    }
    let schema = Schema::parse(schema);
    for (index, field) in list.iter().enumerate() {
        let (here, path) = (at.index(index), text(field, "jsonPath"));
        if path.is_empty() {
            out.required(here.child("jsonPath"), "");
            continue;
        }
        let parsed = JsonPath::parse(path).ok().filter(|p| path.starts_with('.') && p.is_plain());
        let Some(parsed) = parsed else {
            out.invalid(here.child("jsonPath"), path, "is an invalid path: must be a simple json path starting with .");
            continue;
        };
        if parsed.names().next() == Some("metadata") {
            out.invalid(here.child("jsonPath"), path, "must not point to fields in metadata");
        }
        let found = parsed.names().try_fold(&schema, |schema, name| schema.properties.get(name));
        match found.map(|f| f.ty) {
            None => out.invalid(here.child("jsonPath"), path, "is an invalid path: does not refer to a valid field"),
            Some(SchemaType::String | SchemaType::Boolean | SchemaType::Integer) => {}
            Some(_) => {
                out.invalid(here.child("jsonPath"), path, "must point to a field of type string, boolean or integer");
            }
        }
        if list[..index].iter().any(|before| text(before, "jsonPath") == path) {
            out.duplicate(here.child("jsonPath"), path);
        }
    }
}
