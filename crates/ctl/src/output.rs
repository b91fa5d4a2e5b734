//! Printing: tables as the server made them, YAML, JSON, names. Data goes to standard output, messages to standard error.
//! Whatever is printed passes [`crate::escape`] here.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use gantry_api::value::{Value, list_at, remove, str_at};

use crate::{escape, resources::Resource};

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// More columns.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `kind/name`.
    Name,
}

/// Prints text for people on standard output; a closed pipe ends the program quietly, as users of `| head` expect.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    write(escape::text(text).as_bytes())
}

/// As [`print`], with a line end.
///
/// # Errors
/// As [`print`].
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Prints data, such as an object as YAML: as it is, but harmless where standard output is a terminal.
///
/// # Errors
/// As [`print`].
pub(crate) fn data(text: &str) -> Result<()> {
    if std::io::stdout().is_terminal() { print(text) } else { write(text.as_bytes()) }
}

/// Writes bytes as they are to standard output.
///
/// # Errors
/// As [`print`].
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            crate::terminal::restore();
            std::process::exit(0)
        }
        other => other.context("cannot write to standard output"),
    }
}

/// Tells the user something on standard error.
pub(crate) fn note(text: &str) {
    // Nobody can be told when standard error is closed.
    drop(writeln!(std::io::stderr().lock(), "{}", escape::text(text)));
}

/// One object as YAML, JSON or name. managedFields are left out, as kubectl does.
///
/// # Errors
/// When it cannot be rendered.
pub(crate) fn render(object: &Value, format: Format, resource: Option<&Resource>) -> Result<String> {
    let mut object = object.clone();
    strip(&mut object);
    Ok(match format {
        Format::Yaml | Format::Wide => yaml(&object)?,
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&object)?),
        Format::Name => format!("{}\n", name_of(&object, resource)),
    })
}

/// `pod/web-1`, `deployment.apps/web`.
#[must_use]
pub(crate) fn name_of(object: &Value, resource: Option<&Resource>) -> String {
    let name = str_at(object, "metadata.name").unwrap_or("");
    let kind = resource.map_or_else(
        || {
            let (group, _) = gantry_api::kinds::split_api_version(str_at(object, "apiVersion").unwrap_or("v1"));
            let kind = str_at(object, "kind").unwrap_or("").to_ascii_lowercase();
            if group.is_empty() { kind } else { format!("{kind}.{group}") }
        },
        Resource::display,
    );
    format!("{kind}/{name}")
}

/// An object as YAML text.
///
/// # Errors
/// When it cannot be rendered.
pub(crate) fn yaml(object: &Value) -> Result<String> {
    let mut text = serde_saphyr::to_string(object).context("cannot render the object as YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn strip(object: &mut Value) {
    remove(object, "metadata.managedFields");
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            remove(item, "metadata.managedFields");
        }
    }
}

/// Renders a server-side Table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TablePrinter {
    /// Show columns of priority > 0.
    pub(crate) wide: bool,
    /// A first column with the namespace.
    pub(crate) namespace: bool,
    /// A last column with the labels.
    pub(crate) labels: bool,
    /// No header line.
    pub(crate) no_headers: bool,
    /// `deployment.apps/` before names, where several types are listed.
    pub(crate) prefix: String,
    pub(crate) columns: Vec<(usize, String)>,
}

impl TablePrinter {
    /// Takes up the columns of a table (watch events carry them only once).
    pub(crate) fn learn(&mut self, table: &Value) {
        let definitions = list_at(table, "columnDefinitions");
        if definitions.is_empty() {
            return;
        }
        self.columns = definitions
            .iter()
            .enumerate()
            .filter(|(_, c)| self.wide || c.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0)
            .map(|(i, c)| (i, str_at(c, "name").unwrap_or("").to_uppercase()))
            .collect();
    }

    fn header(&self) -> Vec<String> {
        let namespace = self.namespace.then(|| "NAMESPACE".to_owned());
        let labels = self.labels.then(|| "LABELS".to_owned());
        namespace.into_iter().chain(self.columns.iter().map(|(_, n)| n.clone())).chain(labels).collect()
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let cells = list_at(row, "cells");
        let mut out = Vec::new();
        if self.namespace {
            out.push(str_at(row, "object.metadata.namespace").unwrap_or("").to_owned());
        }
        for (at, (index, _)) in self.columns.iter().enumerate() {
            let text = cells.get(*index).map(cell).unwrap_or_default();
            out.push(if at == 0 { format!("{}{text}", self.prefix) } else { text });
        }
        if self.labels {
            out.push(labels_of(row));
        }
        out
    }

    /// The table as text: header (unless switched off) and rows, columns three spaces apart.
    #[must_use]
    pub(crate) fn render(&mut self, table: &Value, with_header: bool) -> String {
        self.learn(table);
        let mut lines = Vec::new();
        if with_header && !self.no_headers {
            lines.push(self.header());
        }
        lines.extend(list_at(table, "rows").iter().map(|r| self.row(r)));
        align(&lines)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

fn labels_of(row: &Value) -> String {
    let labels = gantry_api::value::map_at(row, "object.metadata.labels");
    let pairs: Vec<String> =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// Lays lines out in columns, harmless; the last column is not padded.
#[must_use]
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let lines: Vec<Vec<String>> = lines.iter().map(|l| l.iter().map(|cell| escape::line(cell)).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| lines.iter().filter_map(|l| l.get(c)).map(|t| t.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for line in &lines {
        for (c, text) in line.iter().enumerate() {
            out.push_str(text);
            if c + 1 < line.len() {
                let pad = widths[c] + 3 - text.chars().count();
                out.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_laid_out_as_kubectl_does() {
        let table = json!({"columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["web-1", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "default"}}},
                     {"cells": ["a-longer-name", "0/1", null], "object": {"metadata": {"namespace": "kube-system"}}}]});
        let mut plain = TablePrinter::default();
        assert_eq!(plain.render(&table, true), "NAME            READY\nweb-1           1/1\na-longer-name   0/1\n");
        let mut wide = TablePrinter { wide: true, namespace: true, no_headers: true, ..TablePrinter::default() };
        assert_eq!(
            wide.render(&table, true),
            "default       web-1           1/1   10.0.0.1\nkube-system   a-longer-name   0/1   <none>\n"
        );
    }

    #[test]
    fn yaml_reads_back_as_the_same_value() {
        let object = json!({"apiVersion": "v1", "data": {"yes": "true", "n": "0644", "multi": "a\nb\n", "empty": "",
            "num": "1.5", "tilde": "~", "colon": "a: b", "hash": "# no"}, "metadata": {"name": "x", "labels": {}}, "list": [],
            "n": 3, "big": 9_007_199_254_740_993_i64});
        let text = yaml(&object).expect("it renders");
        let back: Value = serde_saphyr::from_str(&text).expect("it parses");
        assert_eq!(back, object, "{text}");
    }

    #[test]
    fn no_cell_forges_a_row_or_steers_the_terminal() {
        let table = json!({"columnDefinitions": [{"name": "Name"}, {"name": "Sta\u{1b}tus"}],
            "rows": [{"cells": ["a", "x\ny"], "object": {"metadata": {"namespace": "n\u{7}",
                "labels": {"l": "\u{9b}2J"}}}}]});
        let mut printer = TablePrinter { namespace: true, labels: true, ..TablePrinter::default() };
        assert_eq!(
            printer.render(&table, true),
            "NAMESPACE   NAME   STA\u{fffd}TUS   LABELS\nn\u{fffd}          a      x\u{fffd}y       l=\u{fffd}2J\n"
        );
    }
}
