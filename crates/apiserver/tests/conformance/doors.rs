//! Every verb of every subresource of `kinds.tsv`: what it answers stands in `subresources.tsv`.

use std::collections::BTreeSet;

use gantry_api::kinds::KindInfo;
use serde_json::{Value, json};

use crate::client::Client;
use crate::manifest;
use crate::subject::{Subject, stored, world};
use crate::support::Answer;

const FACTS: &str = include_str!("../../../api/facts/kinds.tsv");
const ANSWERS: &str = include_str!("subresources.tsv");

const METHODS: &[(&str, &str)] =
    &[("get", "GET"), ("create", "POST"), ("update", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];

/// A verb of a subresource, as facts name them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    /// Group and version.
    api_version: String,
    /// `pods/log`
    resource: String,
    verb: String,
}

/// All that there are.
fn doors() -> BTreeSet<Door> {
    let mut all = BTreeSet::new();
    for line in FACTS.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let api_version = format!("{}/{}", cells[0], cells[1]).trim_start_matches('/').to_owned();
        if cells[2].contains('/') {
            all.extend(cells[9].split(',').map(|verb| Door {
                api_version: api_version.clone(),
                resource: cells[2].to_owned(),
                verb: verb.to_owned(),
            }));
        }
    }
    all
}

/// A line of `subresources.tsv`.
struct Line {
    resource: &'static str,
    verb: &'static str,
    query: &'static str,
    body: Value,
    code: u16,
    answer: &'static str,
}

fn lines() -> Vec<Line> {
    let parse = |line: &'static str| {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [resource, verb, query, body, code, answer] = cells[..] else { panic!("six cells: {line}") };
        let body = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {line}"));
        Line { resource, verb, query, body, code: code.parse().expect("a code"), answer }
    };
    ANSWERS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect()
}

/// Whether all that is expected is there.
fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| holds(found, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, value)| holds(found, value))
        }
        _ => found == expected,
    }
}

/// The object with what is to change (RFC 7386).
fn merged(object: &mut Value, patch: &Value) {
    let (Value::Object(map), Value::Object(patch)) = (&mut *object, patch) else {
        object.clone_from(patch);
        return;
    };
    for (key, value) in patch {
        merged(map.entry(key.clone()).or_insert(Value::Null), value);
    }
}

/// A subresource of an object that is there.
struct Doorstep<'a> {
    subject: &'a Subject<'a>,
    name: String,
    subresource: &'static str,
}

impl Doorstep<'_> {
    fn kind(&self) -> &'static KindInfo {
        self.subject.kind
    }

    async fn ask(&self, method: &str, name: &str, query: &str, form: &str, body: &Value) -> Answer {
        let rest = format!("/{name}/{}{query}", self.subresource);
        let content = format!("application/{form}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.subject.ask(method, &rest, &[("content-type", &content)], body).await
    }

    /// What a PUT of the change takes: what is read here or, where nothing is, the whole object.
    async fn whole(&self, change: &Value) -> Value {
        let is_read = self.kind().subresource(self.subresource).is_some_and(|s| s.verbs.contains(&"get"));
        let rest = if is_read { format!("/{}/{}", self.name, self.subresource) } else { format!("/{}", self.name) };
        let mut object = self.subject.expect(200, "GET", &rest, &Value::Null).await;
        merged(&mut object, change);
        object
    }

    /// What the line says is what happens; where no object is, that is said.
    async fn check(&self, line: &Line) {
        let says = format!("{} {} {}", self.subject.says(), self.subresource, line.verb);
        let filled = line.body.to_string().replace("{name}", &self.name);
        let status = manifest::manifest(self.kind(), 0)["status"].to_string();
        let mut body: Value = serde_json::from_str(&filled.replace("\"{status}\"", &status)).expect("JSON");
        let method = METHODS.iter().find(|(verb, _)| *verb == line.verb).expect("a verb").1;
        let form = if method == "PATCH" { "merge-patch+json" } else { "json" };
        if method == "PUT" && !body.is_null() {
            body = self.whole(&body).await;
        }
        let mut nobody = body.clone();
        if method != "PATCH" && !nobody.is_null() {
            nobody["metadata"] = json!({"name": "nobody"});
        }
        let missing = self.ask(method, "nobody", line.query, form, &nobody).await;
        let not_found = format!("{} \"nobody\" not found", self.kind().qualified_resource());
        assert!(
            missing.code == 404 && missing.text.contains(&*json!(not_found).to_string()),
            "{says} of nobody: {} {}",
            missing.code,
            missing.text
        );
        let answer = self.ask(method, &self.name, line.query, form, &body).await;
        let expected = line.answer.replace("{name}", &self.name).replace("{kind}", self.kind().kind);
        match serde_json::from_str::<Value>(&expected) {
            Ok(expected) => {
                let found = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
                assert!(holds(&found, &expected), "{says}: {} {}", answer.code, answer.text);
            }
            Err(_) => assert_eq!(answer.text, expected, "{says}"),
        }
        assert_eq!(answer.code, line.code, "{says}: {}", answer.text);
        if method == "PATCH" && answer.code == 200 && !self.connects() {
            self.patch(&says, &body, &answer.json()).await;
        }
    }

    /// The same by the other kinds of patches.
    async fn patch(&self, says: &str, body: &Value, answer: &Value) {
        let name = |key: &String| json!({"op": "add", "path": format!("/{key}"), "value": answer[key.as_str()]});
        let json: Value = body.as_object().into_iter().flatten().map(|(key, _)| name(key)).collect();
        let mut apply = body.clone();
        merged(
            &mut apply,
            &json!({"apiVersion": answer["apiVersion"], "kind": answer["kind"], "metadata": {"name": self.name}}),
        );
        let (same, forced) = ("", "?fieldManager=applier&force=true");
        for (form, query, body) in [
            ("json-patch+json", same, &json),
            ("strategic-merge-patch+json", same, body),
            ("apply-patch+yaml", forced, &apply),
        ] {
            let again = self.ask("PATCH", &self.name, query, form, body).await;
            assert_eq!(again.code, 200, "{says} {form} {body}: {}", again.text);
            // The server writes the status of some itself.
            for part in ["spec", "status"].iter().filter(|_| !self.subject.is_acted_upon()) {
                assert_eq!(again.json()[*part], answer[*part], "{says} {form} {body}");
            }
        }
    }

    /// Verbs that it does not have are not allowed.
    async fn refuses(&self, verbs: &BTreeSet<String>) {
        for (verb, method) in METHODS.iter().filter(|(verb, _)| !verbs.contains(*verb)) {
            let form = if *method == "PATCH" { "merge-patch+json" } else { "json" };
            let answer = self.ask(method, &self.name, "", form, &json!({})).await;
            assert_eq!(answer.code, 405, "{} {} {verb}: {}", self.subject.says(), self.subresource, answer.text);
        }
    }

    fn connects(&self) -> bool {
        self.kind().subresource(self.subresource).is_some_and(|sub| sub.connects())
    }
}

#[tokio::test]
async fn every_verb_of_every_subresource_answers() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let (lines, all) = (lines(), doors());
    let mut asked = BTreeSet::new();
    for kind in stored().filter(|kind| !kind.subresources.is_empty()) {
        let subject = Subject::new(kind, &client);
        let mut object = subject.free(0);
        // What holds a pod is not bound.
        object["spec"].as_object_mut().map(|spec| spec.remove("schedulingGates"));
        let made = subject.expect(201, "POST", "", &object).await;
        subject.settled(0, made).await;
        for line in &lines {
            let (owner, subresource) = line.resource.split_once('/').expect("a subresource");
            let own = format!("{}/{subresource}", kind.qualified_resource());
            let has_own = lines.iter().any(|line| line.resource == own);
            if kind.subresource(subresource).is_none() || (owner != "*" || has_own) && line.resource != own {
                continue;
            }
            let step = Doorstep { subject: &subject, name: subject.name(0), subresource };
            step.check(line).await;
            asked.insert(Door {
                api_version: kind.api_version.clone(),
                resource: format!("{}/{subresource}", kind.resource),
                verb: line.verb.to_owned(),
            });
        }
        for sub in &kind.subresources {
            let step = Doorstep { subject: &subject, name: subject.name(0), subresource: sub.name };
            let resource = format!("{}/{}", kind.resource, sub.name);
            let of = |door: &&Door| door.api_version == kind.api_version && door.resource == resource;
            step.refuses(&all.iter().filter(of).map(|door| door.verb.clone()).collect()).await;
        }
    }
    assert_eq!(asked, all, "every verb has a line");
}
