//! Descriptions: objects as indented text, pure.

mod events;
mod pod;
mod workload;

use gantry_api::value::{Value, get, list_at, map_at, str_at};
use jiff::Timestamp;

use crate::{escape, output::align};

/// Indented `Key: value` lines, harmless, whose values stand in one column per block.
#[derive(Debug, Default)]
pub(crate) struct Page {
    lines: Vec<(usize, String, Option<String>)>,
}

impl Page {
    /// A key and its value.
    pub(crate) fn entry(&mut self, depth: usize, key: &str, value: impl Into<String>) {
        self.lines.push((depth, format!("{}:", escape::line(key)), Some(escape::line(&value.into()))));
    }

    /// A key and its value, where there is one.
    pub(crate) fn maybe(&mut self, depth: usize, key: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.entry(depth, key, value);
        }
    }

    /// Another value under the key before.
    pub(crate) fn more(&mut self, depth: usize, value: impl Into<String>) {
        self.lines.push((depth, String::new(), Some(escape::line(&value.into()))));
    }

    /// A line of its own.
    pub(crate) fn text(&mut self, depth: usize, text: impl Into<String>) {
        self.lines.push((depth, escape::line(&text.into()), None));
    }

    /// Several lines that are laid out already.
    pub(crate) fn block(&mut self, depth: usize, text: &str) {
        for line in text.lines() {
            self.text(depth, line.trim_end());
        }
    }

    /// `key=value` lines under one key, `<none>` where there are none.
    pub(crate) fn map(&mut self, depth: usize, key: &str, map: Option<&gantry_api::Object>, separator: &str) {
        let pairs: Vec<String> = map
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}{separator}{}", v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect();
        self.entry(depth, key, pairs.first().cloned().unwrap_or_else(|| "<none>".to_owned()));
        for pair in pairs.iter().skip(1) {
            self.more(depth, pair.clone());
        }
    }

    /// The page as text. Each run of entries of one depth shares a value column.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        for (depth, key, value) in &self.lines {
            let indent = "  ".repeat(*depth);
            match value {
                None => out.push_str(&format!("{indent}{key}")),
                Some(value) => {
                    let width = self.width(*depth);
                    out.push_str(format!("{indent}{key:<width$}{value}").trim_end());
                }
            }
            out.push('\n');
        }
        out
    }

    fn width(&self, depth: usize) -> usize {
        let keys = self.lines.iter().filter(|(d, _, v)| *d == depth && v.is_some());
        keys.map(|(_, k, _)| k.chars().count()).max().unwrap_or(0) + 2
    }
}

/// An object in words. `related` are the objects that its kind is shown with; `events` its events.
#[must_use]
pub(crate) fn object(
    kind: &str,
    object: &Value,
    related: &[Value],
    events: Option<&[Value]>,
    now: Timestamp,
) -> String {
    let mut page = Page::default();
    head(&mut page, object);
    match kind {
        "Pod" => pod::pod(&mut page, object),
        "Deployment" => workload::deployment(&mut page, object, related),
        "ReplicaSet" => workload::replica_set(&mut page, object),
        "Service" => workload::service(&mut page, object, related),
        "Node" => workload::node(&mut page, object, related),
        "ConfigMap" => data(&mut page, object, false),
        "Secret" => data(&mut page, object, true),
        _ => generic(&mut page, object),
    }
    if let Some(list) = events {
        events::section(&mut page, list, now);
    }
    page.render()
}

fn head(page: &mut Page, object: &Value) {
    page.entry(0, "Name", str_at(object, "metadata.name").unwrap_or(""));
    page.maybe(0, "Namespace", str_at(object, "metadata.namespace"));
    page.map(0, "Labels", map_at(object, "metadata.labels"), "=");
    let mut annotations = map_at(object, "metadata.annotations").cloned().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    page.map(0, "Annotations", Some(&annotations), ": ");
    page.maybe(0, "Status", str_at(object, "metadata.deletionTimestamp").map(|at| format!("Terminating (since {at})")));
    let owner =
        list_at(object, "metadata.ownerReferences").iter().find(|o| get(o, "controller") == Some(&Value::Bool(true)));
    let owner = owner.map(|o| format!("{}/{}", str_at(o, "kind").unwrap_or(""), str_at(o, "name").unwrap_or("")));
    page.maybe(0, "Controlled By", owner);
}

/// ConfigMaps and Secrets: keys, and values where they are no secret.
fn data(page: &mut Page, object: &Value, secret: bool) {
    page.maybe(0, "Type", str_at(object, "type"));
    page.text(0, "");
    page.text(0, "Data");
    page.text(0, "====");
    for (key, value) in map_at(object, "data").into_iter().flatten() {
        let text = value.as_str().unwrap_or("");
        if secret {
            let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
            let bytes = (text.len() / 4 * 3).saturating_sub(padding);
            page.text(0, format!("{key}:  {bytes} bytes"));
        } else {
            page.text(0, format!("{key}:"));
            page.text(0, "----");
            for line in text.lines() {
                page.text(0, line);
            }
            page.text(0, "");
        }
    }
    for (key, value) in map_at(object, "binaryData").into_iter().flatten() {
        page.text(0, format!("{key}:  {} bytes of base64", value.as_str().unwrap_or("").len()));
    }
}

/// Any other kind: its fields as they are.
fn generic(page: &mut Page, object: &Value) {
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            field(page, 0, key, value);
        }
    }
    page.maybe(0, "Created", str_at(object, "metadata.creationTimestamp"));
}

fn field(page: &mut Page, depth: usize, key: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            page.text(depth, format!("{}:", title(key)));
            for (k, v) in map {
                field(page, depth + 1, k, v);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            page.text(depth, format!("{}:", title(key)));
            for item in items {
                for (i, (k, v)) in item.as_object().into_iter().flatten().enumerate() {
                    let mark = if i == 0 { "- " } else { "  " };
                    field(page, depth + 1, &format!("{mark}{}", title(k)), v);
                }
            }
        }
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(plain).collect();
            page.text(depth, format!("{}:  {}", title(key), texts.join(", ")));
        }
        other => page.text(depth, format!("{}:  {}", title(key), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `holderIdentity` -> `Holder Identity`.
fn title(key: &str) -> String {
    let mut out = String::new();
    for (i, c) in key.chars().enumerate() {
        if i == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}

/// A table of conditions.
pub(crate) fn conditions(page: &mut Page, object: &Value, columns: &[(&str, &str)]) {
    let list = list_at(object, "status.conditions");
    if list.is_empty() {
        return;
    }
    page.text(0, "Conditions:");
    let mut lines = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
    lines.extend(
        list.iter().map(|c| columns.iter().map(|(_, path)| str_at(c, path).unwrap_or("").to_owned()).collect()),
    );
    page.block(1, &align(&lines));
}

#[cfg(test)]
mod tests;
