//! The language from outside: tables of expressions and what they give.

mod costs;
mod documents;
mod errors;
mod language;
mod libraries;
mod properties;
mod support;
