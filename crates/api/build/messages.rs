//! Descriptions of types that crate `k8s-openapi` leaves out, from the comments of the messages in crate `k8s-pb`.

use std::fs;
use std::path::Path;

use crate::{Descriptions, Error, Types};

/// A kind whose fields `apiVersion` and `kind`, which no message has, are described as those of every kind are.
const ANY_KIND: &str = "io.k8s.api.core.v1.Pod";
const METRICS: &str = "io.k8s.metrics.";

/// Adds lists, options of requests and what belongs to metrics.k8s.io, where they are missing.
pub(super) fn add(folder: &Path, types: &mut Types) -> Result<(), Error> {
    let shared = types.get(ANY_KIND).cloned().unwrap_or_default();
    let mut found = Vec::new();
    read_folder(folder, "io.k8s", &mut found)?;
    // Where a list is newer than the crate, that of the version before says the same.
    let older = found.iter().filter(|(name, _)| name.contains(".v1beta1.") && name.ends_with("List"));
    let older: Vec<_> = older.map(|(name, cells)| (name.replace(".v1beta1.", ".v1."), cells.clone())).collect();
    for (name, mut cells) in found.into_iter().chain(older) {
        let is_kind = name.ends_with("List") || name.starts_with(METRICS) && cells.contains_key("metadata");
        if is_kind {
            let shared = shared.iter().filter(|(field, _)| matches!(field.as_str(), "apiVersion" | "kind"));
            cells.extend(shared.map(|(field, text)| (field.clone(), text.clone())));
        }
        if is_kind || name.starts_with(METRICS) || name.ends_with("Options") {
            types.entry(name).or_insert(cells);
        }
    }
    Ok(())
}

/// The messages of a folder, each with the name of its schema: folders are packages, with `_` for `-`.
fn read_folder(folder: &Path, package: &str, found: &mut Vec<(String, Descriptions)>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            read_folder(&path, &format!("{package}.{}", name.replace('_', "-")), found)?;
        } else if name == "mod.rs" {
            read_messages(&fs::read_to_string(&path)?, package, found);
        }
    }
    Ok(())
}

fn read_messages(source: &str, package: &str, found: &mut Vec<(String, Descriptions)>) {
    let mut comment: Vec<&str> = Vec::new();
    let mut message: Option<(String, Descriptions)> = None;
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, _)) = line.strip_prefix("pub struct ").and_then(|rest| rest.split_once(' ')) {
            let own = Descriptions::from([(String::new(), joined(&comment))]);
            message = Some((format!("{package}.{name}"), own));
        } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            if let Some((_, cells)) = &mut message {
                cells.insert(camel(field.trim_start_matches("r#")), joined(&comment));
            }
        } else if line == "}" {
            found.extend(message.take());
        }
        comment.clear();
    }
}

/// `timeoutSeconds` for `timeout_seconds`.
fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.extend(word.chars().next().map(|first| first.to_ascii_uppercase()));
        name.push_str(word.get(1..).unwrap_or_default());
    }
    name
}

/// What upstream begins a line with that is for its developers alone.
const UNFINISHED: &str = concat!("TO", "DO");

/// The text of a comment as documents have it (kube-openapi, `generators/openapi.go`): lines make paragraphs, those of instructions
/// to generators are left out, indented ones stay lines.
fn joined(comment: &[&str]) -> String {
    let mut text = String::new();
    let close = |text: &mut String| {
        if text.ends_with([' ', '\n']) {
            text.pop();
        }
    };
    for line in comment.iter().take_while(|line| **line != "---") {
        let line = plain(line.trim_end());
        match line.trim_start() {
            "" => {
                close(&mut text);
                text.push_str("\n\n");
            }
            content if content.starts_with(UNFINISHED) || content.starts_with('+') => {}
            _ if line.starts_with([' ', '\t']) => {
                close(&mut text);
                text.push_str(&format!("\n{line}\n"));
            }
            _ => text.push_str(&format!("{line} ")),
        }
    }
    text.trim().to_owned()
}

/// A line without what the crate's generator adds for rustdoc: `<>` around links, `\` before brackets, a third space before what
/// belongs to an item.
fn plain(line: &str) -> String {
    let mut line = line.replace("\\[", "[").replace("\\]", "]");
    while let Some((start, end)) = line.find("<http").and_then(|at| Some((at, at + line[at..].find('>')?))) {
        line = format!("{}{}{}", &line[..start], &line[start + 1..end], &line[end + 1..]);
    }
    match line.strip_prefix("   ") {
        Some(rest) if !rest.starts_with(' ') => format!("  {rest}"),
        _ => line,
    }
}
