//! Takes the descriptions of the built-in types and their fields out of the source of crate `k8s-openapi` and packs them for
//! `openapi::descriptions`; those of lists, of the options of requests and of metrics.k8s.io, which it does not have, out of `k8s-pb`.
//!
//! Their source is read, not compiled: with its feature `schemars` the former costs half a minute of compiler time, reading costs
//! half a second. The text stays out of this repository, and follows the versions in Cargo.lock.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

#[path = "build/messages.rs"]
mod messages;

type Error = Box<dyn std::error::Error>;

/// The folder of the Kubernetes version that is served.
const VERSION_FOLDER: &str = "src/v1_36";
/// Fewer types than this mean that the source has another form than this script knows.
const TYPES_MIN: usize = 500;
/// Between the cells of a type, and behind a type: characters that no description has.
const CELL: char = '\u{1f}';
const END: char = '\u{1e}';

/// A type's own description under `""`, and those of its fields by JSON name.
type Descriptions = BTreeMap<String, String>;
/// Types by the names of their schemas.
type Types = BTreeMap<String, Descriptions>;

fn main() -> Result<(), Error> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let metadata = metadata()?;
    let folder = source(&metadata, "k8s-openapi")?.join(VERSION_FOLDER);
    let mut types = BTreeMap::new();
    read_folder(&folder, &mut types)?;
    if types.len() < TYPES_MIN {
        let why = format!("{} describes {} types, {TYPES_MIN} were expected", folder.display(), types.len());
        return Err(why.into());
    }
    messages::add(&source(&metadata, "k8s-pb")?.join("src"), &mut types)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    for (name, cells) in &types {
        write!(encoder, "{name}")?;
        for (field, text) in cells {
            write!(encoder, "{CELL}{field}{CELL}{text}")?;
        }
        write!(encoder, "{END}")?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptions.deflate"), encoder.finish()?)?;
    Ok(())
}

/// What cargo says of the workspace: JSON.
fn metadata() -> Result<String, Error> {
    let cargo = env::var_os("CARGO").ok_or("cargo sets CARGO")?;
    let target = env::var("TARGET")?;
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", target.as_str()];
    let output = Command::new(cargo).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder of a crate, as cargo has unpacked or vendored it.
fn source(metadata: &str, wanted: &str) -> Result<PathBuf, Error> {
    let manifests = metadata.split(r#""manifest_path":""#).skip(1).filter_map(|rest| rest.split('"').next());
    let folders = manifests.filter_map(|manifest| Path::new(manifest).parent());
    let named = |folder: &&Path| {
        let name = folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let rest = name.strip_prefix(wanted);
        rest.is_some_and(|r| r.is_empty() || r.starts_with("-0.") || r.starts_with("-1."))
    };
    let found = folders.into_iter().find(named).map(Path::to_owned);
    found.ok_or_else(|| format!("crate {wanted} is not among the dependencies of the workspace").into())
}

fn read_folder(folder: &Path, types: &mut Types) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, types)?;
        } else if let Some((name, descriptions)) = read_type(&fs::read_to_string(&path)?) {
            types.insert(name, descriptions);
        }
    }
    Ok(())
}

/// The descriptions in the `JsonSchema` implementation of one file, whose layout is that of the crate's generator: properties at
/// an indentation of 16, what belongs to them at 20.
fn read_type(source: &str) -> Option<(String, Descriptions)> {
    let (_, source) = source.split_once("fn schema_name() ")?;
    let (name, _) = source.split_once(".into()")?;
    let name = name.rsplit('{').next()?.trim().trim_matches('"').to_owned();
    let mut found = Descriptions::new();
    let mut field = String::new();
    for line in source.lines() {
        let text = line.trim_start();
        match line.len() - text.len() {
            16 if text.starts_with('"') => text[1..].split('"').next()?.clone_into(&mut field),
            depth @ (12 | 20) => {
                let plain = text.strip_prefix("\"description\": ");
                let inserted = text.strip_prefix(r#"schema_obj.ensure_object().insert("description".into(), "#);
                if let Some(literal) = plain.or(inserted) {
                    found.insert(if depth == 12 { String::new() } else { field.clone() }, unquote(literal)?);
                }
            }
            _ => {}
        }
    }
    Some((name, found))
}

/// The text of a string literal that the rest of a line begins with.
fn unquote(literal: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = literal.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text.trim_end().to_owned()),
            '\\' => match characters.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let code: String = characters.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}
