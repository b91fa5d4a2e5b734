//! The language from outside: tables of expressions and what they give.

mod errors;
mod language;
mod support;
