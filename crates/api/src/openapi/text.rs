//! Documents as JSON.

use serde_json::json;

use super::{Parts, info, security};
use crate::Value;

/// A JSON object that is being written, member by member.
struct Members {
    out: Vec<u8>,
    first: bool,
}

impl Members {
    fn open(mut out: Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        append(&mut self.out, &Value::from(name));
        self.out.push(b':');
    }

    fn member(&mut self, name: &str, value: &Value) {
        self.name(name);
        append(&mut self.out, value);
    }

    /// A member that is an object itself.
    fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.name(name);
        let mut inner = Self::open(std::mem::take(&mut self.out));
        fill(&mut inner);
        self.out = inner.close();
    }

    fn all(&mut self, members: &mut dyn Iterator<Item = (&str, Value)>) {
        for (name, value) in members {
            self.member(name, &value);
        }
    }

    fn close(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

fn append(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a value tree has string keys and a Vec takes all bytes");
}

pub(super) fn v2(parts: Parts<'_>) -> Vec<u8> {
    let (security, definitions) = security();
    let mut document = Members::open(Vec::new());
    document.member("swagger", &json!("2.0"));
    document.member("info", &info());
    document.object("paths", |members| members.all(parts.paths));
    document.object("definitions", |members| members.all(parts.schemas));
    document.member("parameters", &Value::Object(parts.shared.take()));
    document.member("securityDefinitions", &Value::Object(definitions));
    document.member("security", &security);
    document.close()
}

pub(super) fn v3(parts: Parts<'_>) -> Vec<u8> {
    let (_, definitions) = security();
    let mut document = Members::open(Vec::new());
    document.member("openapi", &json!("3.0.0"));
    document.member("info", &info());
    document.object("paths", |members| members.all(parts.paths));
    document.object("components", |components| {
        // Go's clients would not write an empty one again.
        let mut schemas = parts.schemas.peekable();
        if schemas.peek().is_some() {
            components.object("schemas", |members| members.all(&mut schemas));
        }
        components.member("securitySchemes", &Value::Object(definitions));
    });
    document.close()
}
