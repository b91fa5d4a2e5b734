//! What kinds are about, changed in every way: a patch of whatever form does what a PUT of its result does, or is refused as it is.
//!
//! What each kind lets nobody change stands with the refusal in `refusals.tsv`: a line too many or too few fails.

use gantry_api::table::{Type, TypeTable};
use serde_json::{Value, json};

use crate::client::Client;
use crate::golden;
use crate::manifest;
use crate::patches::{Change, merge, strategic, varied};
use crate::subject::{Subject, stored, world};
use crate::support::Answer;

const REFUSALS: &str = include_str!("refusals.tsv");

/// So many other values are tried until one is taken.
const TRIES: usize = 5;

/// An object that is changed.
struct Object<'a> {
    subject: &'a Subject<'a>,
    turn: usize,
    now: Value,
    /// How many changes there were.
    count: usize,
    /// What was refused, as in `refusals.tsv`.
    refused: Vec<String>,
    /// What a patch did otherwise than a PUT.
    wrong: Vec<String>,
}

/// Code, and the answer but for what tells writes apart.
fn told(answer: &Answer, is_acted_upon: bool) -> (u16, Value) {
    let mut body = answer.json();
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    // Who is not written is given another port each time.
    if let Some(spec) = body["spec"].as_object_mut() {
        spec.remove("healthCheckNodePort");
    }
    if is_acted_upon && answer.code < 300 {
        body.as_object_mut().map(|body| body.remove("status"));
    }
    (answer.code, body)
}

/// Before the digest of the certificate that a client showed.
const DIGEST: &str = "X509SHA256=";

/// A text without what differs from run to run.
fn steady(text: &str) -> String {
    let Some((before, after)) = text.split_once(DIGEST) else { return text.to_owned() };
    format!("{before}{DIGEST}...{}", after.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

/// A message of which only the ends matter.
fn short(message: &str) -> String {
    let all: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if all.len() <= 240 {
        return all.into_iter().collect();
    }
    let (head, tail): (String, String) = (all[..140].iter().collect(), all[all.len() - 90..].iter().collect());
    format!("{head}...{tail}")
}

impl Object<'_> {
    async fn send(&self, method: &str, form: &str, query: &str, body: &Value) -> Answer {
        let rest = format!("/{}?fieldManager=one{query}", self.subject.name(self.turn));
        let content = format!("application/{form}");
        self.subject.ask(method, &rest, &[("content-type", &content)], body.to_string()).await
    }

    /// What becomes of the object when it is put with the change.
    async fn put(&mut self, change: &Change) -> Answer {
        loop {
            let answer = self.send("PUT", "json", "&dryRun=All", &change.of(&self.now)).await;
            if answer.code != 409 || !self.subject.is_acted_upon() {
                return answer;
            }
            // The server has written to it meanwhile.
            let path = format!("/{}", self.subject.name(self.turn));
            self.now = self.subject.expect(200, "GET", &path, &Value::Null).await;
        }
    }

    /// A value that the place may have instead of its own, if there is one, else one that it may not.
    async fn choose(&mut self, at: &str) -> Option<Change> {
        let kind = self.subject.kind;
        let now = self.now.pointer(at)?.clone();
        let turns = (0..manifest::count(kind)).filter_map(|turn| manifest::manifest(kind, turn).pointer(at).cloned());
        let mut first = None;
        for value in turns.take(3).chain(varied(&now)).filter(|value| *value != now).take(TRIES) {
            let change = Change { op: "replace", at: at.to_owned(), value };
            let answer = self.put(&change).await;
            if answer.code == 200 && answer.json().pointer(at) != Some(&now) {
                return Some(change);
            }
            first.get_or_insert(change);
        }
        first
    }

    /// All patches that make the change do what the PUT does; with `stored`, one of them, by turns, does it for good.
    async fn change(&mut self, ty: &'static Type, change: &Change, for_good: bool) {
        let subject = self.subject;
        let acted = subject.is_acted_upon();
        let expected = told(&self.put(change).await, acted);
        let new = change.of(&self.now);
        let mut patches = [
            ("json-patch+json", change.json()),
            ("merge-patch+json", merge(&self.now, &new)),
            ("strategic-merge-patch+json", strategic(ty, &self.now, &new)),
        ];
        patches.rotate_left(self.count % 3);
        self.count += 1;
        for (index, (form, body)) in patches.iter().enumerate() {
            let query = if for_good && index == 2 { "" } else { "&dryRun=All" };
            let answer = self.send("PATCH", form, query, body).await;
            self.compare(&format!("{} {} {form} {body}", change.op, change.at), &told(&answer, acted), &expected);
            if query.is_empty() && answer.code == 200 {
                self.now = subject.settled(self.turn, answer.json()).await;
            }
        }
        if for_good && !acted {
            let path = format!("/{}", subject.name(self.turn));
            assert_eq!(subject.expect(200, "GET", &path, &Value::Null).await, self.now, "{}", subject.says());
        }
        self.judged(change, &expected);
    }

    /// Keeps what is not as it should be.
    fn compare(&mut self, what: &str, found: &(u16, Value), expected: &(u16, Value)) {
        let mut all = Vec::new();
        golden::differences(&json!([found.0, found.1]), &json!([expected.0, expected.1]), "", &mut all);
        if !all.is_empty() {
            let (what, all) = (short(what), all.iter().map(|difference| short(difference)).take(4).collect::<Vec<_>>());
            self.wrong.push(format!("{} {what}\n    {}", self.subject.says(), all.join("\n    ")));
        }
    }

    /// Keeps what was refused.
    fn judged(&mut self, change: &Change, (code, answer): &(u16, Value)) {
        let says = match (answer.pointer(&change.at), change.op) {
            _ if *code != 200 => short(answer["message"].as_str().unwrap_or_default()),
            (Some(_), "remove") | (None, "add") => {
                steady(&format!("ignored: {}", answer.pointer(&change.at).unwrap_or(&Value::Null)))
            }
            (now, "replace") if now != Some(&change.value) => "ignored".to_owned(),
            _ => return,
        };
        self.refused.push(format!("{}\t{} {}\t{says}", self.subject.says(), change.op, change.at));
    }
}

/// The fields that a kind is about: those of its spec, and what stands beside it.
fn places(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("apiVersion" | "kind" | "metadata" | "status", _) => {}
            ("spec", Value::Object(spec)) => all.extend(spec.keys().map(|name| format!("/spec/{name}"))),
            _ => all.push(format!("/{name}")),
        }
    }
    all
}

/// Each field is replaced, removed, and put back.
async fn change_fields(object: &mut Object<'_>) {
    let ty = manifest::whole(object.subject.kind);
    for at in places(&object.now) {
        let Some(before) = object.now.pointer(&at).cloned() else { continue };
        if let Some(change) = object.choose(&at).await {
            object.change(ty, &change, true).await;
        }
        if object.now.pointer(&at).is_some() {
            object.change(ty, &Change { op: "remove", at: at.clone(), value: Value::Null }, true).await;
        }
        if object.now.pointer(&at) != Some(&before) {
            object.change(ty, &Change { op: "add", at, value: before }, true).await;
        }
    }
}

/// Each list that a strategic patch merges has an item changed, added and taken away.
async fn change_items(object: &mut Object<'_>) {
    let ty = manifest::whole(object.subject.kind);
    for way in manifest::lists(object.subject.kind) {
        let (holder, name) = *way.last().expect("a field");
        let field = &TypeTable::builtin().ty(holder).expect("a type").fields[name];
        let Some(at) = manifest::pointer(&object.now, &way).filter(|_| field.patch_strategy.merge) else { continue };
        let Some(first) = object.now.pointer(&format!("{at}/0")).cloned() else { continue };
        if let Some(change) = object.choose(&format!("{at}/0")).await {
            object.change(ty, &change, false).await;
        }
        let mut other = first.clone();
        match field.patch_merge_key {
            Some(key) => other[key] = varied(&first[key]).into_iter().next().unwrap_or_else(|| first[key].clone()),
            None => other = varied(&first).into_iter().next().unwrap_or(first),
        }
        object.change(ty, &Change { op: "add", at: format!("{at}/0"), value: other }, false).await;
        object.change(ty, &Change { op: "remove", at: format!("{at}/0"), value: Value::Null }, false).await;
    }
}

/// What an apply with the field in another form does is what a PUT of the same does.
async fn apply_fields(object: &mut Object<'_>, manifest: &mut Value) {
    for at in places(manifest) {
        let Some(before) = object.now.pointer(&at).cloned() else { continue };
        let mut changes: Vec<Change> = object.choose(&at).await.into_iter().collect();
        changes.push(Change { op: "remove", at: at.clone(), value: Value::Null });
        changes.push(Change { op: "add", at: at.clone(), value: before });
        for change in changes {
            if change.op == "remove" && object.now.pointer(&at).is_none() {
                continue;
            }
            let subject = object.subject;
            let acted = subject.is_acted_upon();
            let expected = told(&object.put(&change).await, acted);
            let new = change.of(manifest);
            let answer = object.send("PATCH", "apply-patch+yaml", "", &new).await;
            object.compare(&format!("{} {at} applied", change.op), &told(&answer, acted), &expected);
            if answer.code == 200 {
                object.now = subject.settled(object.turn, answer.json()).await;
                *manifest = new;
            }
            // What went with the field is not applied again.
            for at in places(manifest).iter().filter(|at| object.now.pointer(at).is_none()) {
                *manifest = Change { op: "remove", at: at.clone(), value: Value::Null }.of(manifest);
            }
        }
    }
}

#[tokio::test]
async fn every_patch_of_every_field_does_what_a_put_does() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let (mut refused, mut wrong) = (Vec::new(), Vec::new());
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let now = subject.create(0).await;
        let mut object = Object { subject: &subject, turn: 0, now, count: 0, refused: Vec::new(), wrong: Vec::new() };
        change_items(&mut object).await;
        object.refused.clear();
        change_fields(&mut object).await;
        refused.append(&mut object.refused);
        wrong.append(&mut object.wrong);
    }
    wrong.extend(golden::changed(&refused, REFUSALS));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_applied_field_becomes_what_a_put_makes_of_it() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let mut wrong = Vec::new();
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let mut manifest = subject.free(0);
        // It becomes a part of `data`, which is compared.
        manifest.as_object_mut().map(|manifest| manifest.remove("stringData"));
        let rest = format!("/{}?fieldManager=one", subject.name(0));
        let made =
            subject.ask("PATCH", &rest, &[("content-type", "application/apply-patch+yaml")], manifest.to_string());
        let made = made.await;
        assert_eq!(made.code, 201, "{}: {}", subject.says(), made.text);
        let now = subject.settled(0, made.json()).await;
        let mut object = Object { subject: &subject, turn: 0, now, count: 0, refused: Vec::new(), wrong: Vec::new() };
        apply_fields(&mut object, &mut manifest).await;
        wrong.append(&mut object.wrong);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A definition with what patches treat differently: values, numbers, a struct, a map, and lists of all kinds.
fn definition() -> Value {
    let text = || json!({"type": "string"});
    let entries = |keys: Value| {
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
            "items": {"type": "object", "required": ["name"], "properties": {"name": text(), "value": text()}}})
    };
    let spec = json!({"type": "object", "required": ["text"], "properties": {
        "text": text(), "number": {"type": "integer"}, "is": {"type": "boolean"}, "ratio": {"type": "number"},
        "port": {"x-kubernetes-int-or-string": true}, "fixed": {"type": "string", "x-kubernetes-validations":
            [{"rule": "self == oldSelf", "message": "it stays as it is"}]},
        "inner": {"type": "object", "properties": {"a": text(), "b": text()}},
        "map": {"type": "object", "additionalProperties": text()},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "atoms": {"type": "array", "items": text()},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text()},
        "entries": entries(json!(["name"])),
    }});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"metadata": {"name": "widgets.conformance.example.com"}, "spec": {
        "group": "conformance.example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
    }})
}

/// Defines widgets; returns their path once they are served.
async fn widgets(client: &Client) -> &'static str {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = client.ask("POST", path, &[], definition().to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let path = "/apis/conformance.example.com/v1/namespaces/default/widgets";
    while client.get(path).await.code != 200 {}
    path
}

fn widget() -> Value {
    json!({"apiVersion": "conformance.example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"text": "a", "number": 1, "is": true, "ratio": 1.5, "port": "http", "fixed": "f",
            "inner": {"a": "b", "b": "c"}, "map": {"a": "b", "c": "d"}, "any": {"a": [{"b": 1}]}, "atoms": ["a", "b"],
            "set": ["a", "b"], "entries": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]}})
}

#[tokio::test]
async fn every_patch_of_a_custom_object_does_what_a_put_does() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let path = widgets(&client).await;
    let mut manifest = widget();
    let send = async |method: &str, form: &str, query: &str, body: &Value| {
        let content = format!("application/{form}");
        let rest = format!("{path}/w?fieldManager=one{query}");
        client.ask(method, &rest, &[("content-type", &content)], body.to_string()).await
    };
    let mut now = send("PATCH", "apply-patch+yaml", "", &manifest).await.json();
    let mut refused = Vec::new();
    for at in places(&manifest.clone()) {
        let before = now.pointer(&at).expect("a value").clone();
        let mut changes: Vec<Change> =
            varied(&before).into_iter().map(|value| Change { op: "replace", at: at.clone(), value }).collect();
        changes.push(Change { op: "remove", at: at.clone(), value: Value::Null });
        changes.push(Change { op: "add", at: at.clone(), value: before });
        for change in changes {
            if change.op == "remove" && now.pointer(&at).is_none() {
                continue;
            }
            let new = change.of(&now);
            let expected = told(&send("PUT", "json", "&dryRun=All", &new).await, false);
            let merge = merge(&now, &new);
            for (form, body) in [("json-patch+json", &change.json()), ("merge-patch+json", &merge)] {
                let answer = send("PATCH", form, "&dryRun=All", body).await;
                assert_eq!(told(&answer, false), expected, "{form} {body} of {now}");
            }
            assert_eq!(send("PATCH", "strategic-merge-patch+json", "&dryRun=All", &merge).await.code, 415);
            let applied = change.of(&manifest);
            let answer = send("PATCH", "apply-patch+yaml", "", &applied).await;
            assert_eq!(told(&answer, false), expected, "{applied} onto {now}");
            if answer.code == 200 {
                (now, manifest) = (answer.json(), applied);
            } else {
                refused.push(format!("{} {at}: {}", change.op, answer.json()["message"].as_str().unwrap_or_default()));
            }
        }
    }
    let invalid = |what: &str| format!("Widget.conformance.example.com \"w\" is invalid: {what}");
    let unchecked = "<nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; \
        correct the existing errors to complete validation";
    let expected = [
        format!("replace /spec/fixed: {}", invalid("spec.fixed: Invalid value: \"string\": it stays as it is")),
        format!("remove /spec/text: {}", invalid(&format!("[spec.text: Required value, {unchecked}]"))),
    ];
    assert_eq!(refused, expected);
}
