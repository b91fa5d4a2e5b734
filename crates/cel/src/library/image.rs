//! References to container images (`registry/repository:tag@digest`), with Docker's defaults: what go-containerregistry reads.

use std::sync::Arc;

use super::opaque::Opaque;
use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

const PART: &[&str] = &["kubernetes.Image.() string"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("image", make, &["(string) kubernetes.Image"]),
    entry("isImage", is_image, &["(string) bool"]),
    entry("containsDigest", |_, a| Ok(Value::Bool(!of(a)?.digest.is_empty())), &["kubernetes.Image.() bool"]),
    entry("registry", |c, a| part(c, a, |i| &i.registry), PART),
    entry("repository", |c, a| part(c, a, |i| &i.repository), PART),
    entry("identifier", |c, a| part(c, a, |i| if i.digest.is_empty() { &i.tag } else { &i.digest }), PART),
    entry("tag", |c, a| part(c, a, |i| &i.tag), PART),
    entry("digest", |c, a| part(c, a, |i| &i.digest), PART),
];

/// A reference in its parts: either a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(crate) text: String,
    registry: String,
    repository: String,
    tag: String,
    digest: String,
}

const DOCKER: &str = "index.docker.io";
/// Stands for [`DOCKER`].
const DOCKER_ALIAS: &str = "docker.io";

impl Image {
    fn parse(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, is_digest(digest).then_some(digest)?),
            None => (text, ""),
        };
        // A colon before a slash belongs to the port of a registry.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, (tag.is_empty() || is_tag(tag)).then_some(tag)?),
            _ => (name, ""),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
            _ => (DOCKER, name),
        };
        let registry = if registry == DOCKER_ALIAS { DOCKER } else { registry };
        if !is_registry(registry) || !is_repository(repository) {
            return None;
        }
        let repository = if registry == DOCKER && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        let tag = if digest.is_empty() && tag.is_empty() { "latest" } else { tag };
        // With a digest the tag says nothing.
        let tag = if digest.is_empty() { tag } else { "" };
        Some(Self {
            text: text.to_owned(),
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
            digest: digest.to_owned(),
        })
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn is_registry(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
}

fn is_repository(text: &str) -> bool {
    (2..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b))
}

fn make<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    match Image::parse(text) {
        Some(image) => Ok(Value::Opaque(Arc::new(Opaque::Image(image)))),
        None => fail(format!("could not parse reference: {}", &**text)),
    }
}

fn is_image<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Ok(Value::Bool(Image::parse(text).is_some()))
}

fn of<'v>(args: &'v [Value<'_>]) -> Result<&'v Image> {
    match args {
        [Value::Opaque(opaque)] => match &**opaque {
            Opaque::Image(image) => Ok(image),
            _ => Err(NO_OVERLOAD),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn part<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], part: fn(&Image) -> &String) -> Result<Value<'a>> {
    let text = part(of(args)?).clone();
    made(context, text)
}
