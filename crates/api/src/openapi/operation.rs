//! Paths and their operations, before they are written as version 2 or 3.

use serde_json::json;

use super::descriptions::Descriptions;
use super::gvk;
use super::parameters::Parameter;
use super::schema::Style;
use super::shared::Shared;
use crate::{Object, Value};

pub(super) const JSON: &str = "application/json";

/// What is sent or answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    /// Text or bytes of any kind.
    Text,
    /// A type of the table.
    Of(String),
}

impl Content {
    fn schema(&self, style: Style) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Text => Some(json!({"type": "string"})),
            Self::Of(ty) => Some(style.reference(ty)),
        }
    }
}

/// A parameter in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// One method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) text: String,
    pub(super) tag: String,
    pub(super) parameters: Vec<Parameter>,
    /// Media types of the body; version 2 states them even where none is sent.
    pub(super) takes: &'static [&'static str],
    pub(super) body: Content,
    pub(super) body_required: bool,
    /// Media types of the answer.
    pub(super) gives: &'static [&'static str],
    /// Codes of success and what is answered with each.
    pub(super) answers: Vec<(u16, Content)>,
    /// `x-kubernetes-action`.
    pub(super) action: Option<&'static str>,
    /// Group, version and kind of the object that it is about.
    pub(super) gvk: Option<(String, String, String)>,
}

/// One path.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) places: Vec<Place>,
    pub(super) operations: Vec<Operation>,
}

impl Item {
    /// The path's value. What all operations take stands at the path itself, as upstream has it.
    pub(super) fn value(&self, writer: &Writer<'_>) -> Value {
        let mut shared: Vec<Parameter> = self.operations.first().map_or_else(Vec::new, |o| o.parameters.clone());
        shared.retain(|p| self.operations.iter().all(|o| o.parameters.contains(p)));
        let mut parameters: Vec<(&str, Value)> = Vec::new();
        parameters.extend(self.places.iter().map(|p| (p.name, writer.in_path(p))));
        parameters.extend(shared.iter().map(|p| (p.name, writer.in_query(p))));
        parameters.sort_by_key(|(name, _)| *name);
        let mut item = Object::new();
        for operation in &self.operations {
            item.insert(operation.method.to_owned(), operation.value(writer, &shared));
        }
        if !parameters.is_empty() {
            item.insert("parameters".to_owned(), parameters.into_iter().map(|(_, value)| value).collect());
        }
        Value::Object(item)
    }
}

impl Operation {
    fn value(&self, writer: &Writer<'_>, shared: &[Parameter]) -> Value {
        let style = writer.style;
        let own = self.parameters.iter().filter(|p| !shared.contains(p));
        let mut parameters: Vec<Value> = own.map(|p| writer.in_query(p)).collect();
        let mut answers: Object =
            self.answers.iter().map(|(code, content)| (code.to_string(), self.answer(*code, content, style))).collect();
        answers.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let mut operation = json!({
            "description": self.text,
            "operationId": self.id,
            "responses": answers,
            "tags": [self.tag],
        });
        match (style, self.body.schema(style)) {
            (Style::V2, schema) => {
                operation["schemes"] = json!(["https"]);
                if !self.takes.is_empty() {
                    operation["consumes"] = json!(self.takes);
                }
                operation["produces"] = json!(self.gives);
                if let Some(schema) = schema {
                    let mut body = json!({"name": "body", "in": "body", "schema": schema});
                    if self.body_required {
                        body["required"] = Value::from(true);
                    }
                    parameters.insert(0, writer.placed(body));
                }
            }
            (Style::V3, Some(schema)) => {
                operation["requestBody"] = json!({"content": each(self.takes, &schema)});
                if self.body_required {
                    operation["requestBody"]["required"] = Value::from(true);
                }
            }
            (Style::V3, None) => {}
        }
        if !parameters.is_empty() {
            operation["parameters"] = Value::from(parameters);
        }
        if let Some(action) = self.action {
            operation["x-kubernetes-action"] = Value::from(action);
        }
        if let Some((group, version, kind)) = &self.gvk {
            operation["x-kubernetes-group-version-kind"] = gvk::value(group, version, kind);
        }
        operation
    }

    fn answer(&self, code: u16, content: &Content, style: Style) -> Value {
        let text = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        let mut answer = json!({"description": text});
        match (style, content.schema(style)) {
            (Style::V2, Some(schema)) => answer["schema"] = schema,
            (Style::V3, Some(schema)) => answer["content"] = each(self.gives, &schema),
            (_, None) => {}
        }
        answer
    }
}

fn each(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect::<Object>().into()
}

/// What paths are written with.
pub(super) struct Writer<'a> {
    pub(super) style: Style,
    pub(super) descriptions: &'a Descriptions,
    /// Where version 2 keeps parameters that many operations take.
    pub(super) shared: &'a Shared,
}

impl Writer<'_> {
    fn in_query(&self, parameter: &Parameter) -> Value {
        let text = parameter.described(self.descriptions);
        self.placed(self.located(parameter.name, "query", parameter.ty, text))
    }

    fn in_path(&self, place: &Place) -> Value {
        let mut value = self.located(place.name, "path", "string", &place.text);
        value["required"] = Value::from(true);
        self.placed(value)
    }

    fn located(&self, name: &str, place: &str, ty: &str, text: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": text});
        match self.style {
            Style::V2 => {
                parameter["type"] = Value::from(ty);
                parameter["uniqueItems"] = Value::from(true);
            }
            Style::V3 => parameter["schema"] = json!({"type": ty, "uniqueItems": true}),
        }
        parameter
    }

    /// A parameter, or in version 2 where it stands for all operations.
    fn placed(&self, parameter: Value) -> Value {
        match self.style {
            Style::V2 => self.shared.placed(parameter),
            Style::V3 => parameter,
        }
    }
}
