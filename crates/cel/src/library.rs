//! The functions, by library. A library is a table of names, code and signatures.

mod arithmetic;
mod authorizer;
mod containers;
mod convert;
pub(crate) mod format;
mod formats;
mod image;
mod lists;
mod mutation;
mod net;
pub(crate) mod opaque;
mod optional;
mod quantity;
mod regex;
mod semver;
mod sets;
mod strings;
pub(crate) mod time;
mod url;

use crate::environment::Library;
use crate::error::EvalError;
use crate::registry::Entry;

pub(crate) use lists::SORT_BY_KEYS;

/// All libraries, with what an environment must have for them to be known.
pub(crate) const ALL: &[(Option<Library>, &[Entry])] = &[
    (None, arithmetic::ENTRIES),
    (None, containers::ENTRIES),
    (None, convert::ENTRIES),
    (None, time::ENTRIES),
    (None, optional::ENTRIES),
    (None, strings::ENTRIES),
    (None, format::ENTRIES),
    (None, sets::ENTRIES),
    (None, lists::ENTRIES),
    (None, regex::ENTRIES),
    (None, url::ENTRIES),
    (None, quantity::ENTRIES),
    (None, net::ENTRIES),
    (None, semver::ENTRIES),
    (None, formats::ENTRIES),
    (None, image::ENTRIES),
    (Some(Library::Authorizer), authorizer::ENTRIES),
    (Some(Library::Mutation), mutation::ENTRIES),
];

/// Types of these libraries that a source may name.
pub(crate) const OPAQUE_TYPES: &[&str] = &["net.IP", "net.CIDR"];

/// What the code of a function gives.
pub(crate) type Result<T> = std::result::Result<T, EvalError>;

pub(crate) const NO_OVERLOAD: EvalError = EvalError::NoSuchOverload;

/// An error within the language.
pub(crate) fn fail<T>(message: impl Into<std::borrow::Cow<'static, str>>) -> Result<T> {
    Err(EvalError::new(message))
}
