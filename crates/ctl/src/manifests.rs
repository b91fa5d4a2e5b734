//! Objects from files (`-f`): YAML or JSON, several documents, folders, standard input, `List` objects.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use gantry_api::value::{Value, list_at, str_at};
use gantry_client::DynApi;

use crate::{resources::Resource, session::Session};

/// One object and where it came from.
pub(crate) struct Manifest {
    /// The object.
    pub(crate) object: Value,
    /// The file, for messages.
    pub(crate) source: String,
}

impl Manifest {
    /// The object's name; empty where it only has generateName.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        str_at(&self.object, "metadata.name").unwrap_or("")
    }

    /// The resource, and calls in the namespace that the object belongs to.
    ///
    /// # Errors
    /// When the cluster does not serve the kind, or `-n` contradicts the object.
    pub(crate) fn locate<'s>(&self, session: &'s Session) -> Result<(&'s Resource, DynApi)> {
        let api_version = str_at(&self.object, "apiVersion").unwrap_or("");
        let kind = str_at(&self.object, "kind").unwrap_or("");
        let resource = session
            .catalogue()
            .by_kind(api_version, kind)
            .with_context(|| format!("unable to recognize {:?}", self.source))?;
        let own = str_at(&self.object, "metadata.namespace").unwrap_or("");
        if resource.namespaced && session.namespace_given && !own.is_empty() && own != session.namespace {
            bail!(
                "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass \
                 '--namespace={own}' to perform this operation.",
                session.namespace
            );
        }
        let namespace = if own.is_empty() { &session.namespace } else { own };
        Ok((resource, session.api_in(resource, namespace)))
    }
}

/// Reads all objects of the named files; `-` is standard input, a folder means its .yaml, .yml and .json files.
///
/// # Errors
/// When a file cannot be read or parsed (with line and column), or holds no object.
pub(crate) fn read(files: &[PathBuf], recursive: bool) -> Result<Vec<Manifest>> {
    let mut out = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            parse("standard input", &text, &mut out)?;
        } else if file.is_dir() {
            for inner in folder(file, recursive)? {
                parse_file(&inner, &mut out)?;
            }
        } else {
            parse_file(file, &mut out)?;
        }
    }
    if out.is_empty() {
        bail!("no objects passed: the input holds no YAML or JSON document with apiVersion and kind");
    }
    Ok(out)
}

fn folder(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let entries = fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    entries.sort();
    for entry in entries {
        let extension = entry.extension().and_then(|e| e.to_str()).unwrap_or("");
        if entry.is_dir() && recursive {
            out.extend(folder(&entry, true)?);
        } else if matches!(extension, "yaml" | "yml" | "json") {
            out.push(entry);
        }
    }
    Ok(out)
}

fn parse_file(path: &Path, out: &mut Vec<Manifest>) -> Result<()> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    parse(&name, &text, out)
}

fn parse(source: &str, text: &str, out: &mut Vec<Manifest>) -> Result<()> {
    let documents = gantry_api::decode::yaml_documents(text).with_context(|| format!("error parsing {source}"))?;
    for document in documents {
        take(source, document, out)?;
    }
    Ok(())
}

fn take(source: &str, document: Value, out: &mut Vec<Manifest>) -> Result<()> {
    if document.is_null() {
        return Ok(());
    }
    let kind = str_at(&document, "kind").unwrap_or("");
    if kind.is_empty() {
        bail!("error validating {source}: kind not set: every object needs apiVersion and kind");
    }
    if str_at(&document, "apiVersion").unwrap_or("").is_empty() {
        bail!("error validating {source}: apiVersion not set on the object of kind {kind}");
    }
    if kind.ends_with("List") && document.get("items").is_some_and(Value::is_array) {
        for item in list_at(&document, "items") {
            take(source, item.clone(), out)?;
        }
        return Ok(());
    }
    // YAML reads a bare `n`, `yes` or `1` as something else than text.
    if let Some(name) = gantry_api::value::get(&document, "metadata.name").filter(|n| !n.is_string() && !n.is_null()) {
        bail!("error validating {source}: metadata.name of the {kind} is {name}, not text: put it in quotes");
    }
    out.push(Manifest { object: document, source: source.to_owned() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<usize, &str>) {
        let mut out = Vec::new();
        let result = parse("web.yaml", text, &mut out).map(|()| out.len()).map_err(|e| format!("{e:#}"));
        match expected {
            Ok(count) => assert_eq!(result, Ok(count)),
            Err(part) => {
                let error = result.expect_err("it is refused");
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn documents_and_lists_are_taken_apart_and_oddities_are_named() {
        check("apiVersion: v1\nkind: Pod\n---\n---\napiVersion: v1\nkind: Pod\n", Ok(2));
        check("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n", Ok(1));
        check("kind: Pod\n", Err("apiVersion not set"));
        check("apiVersion: v1\n", Err("kind not set"));
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: n}\n", Err("put it in quotes"));
    }
}
