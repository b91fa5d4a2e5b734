//! Tables of every kind: columns, and the row of the manifest with every field set, as `tables.tsv` has them. Names, types, formats,
//! priorities, what begins the texts and cells are facts of upstream's printers (k8s.io/kubernetes/pkg/printers/internalversion/printers.go).

use gantry_common::clock::Manual;
use serde_json::Value;

use crate::client::Client;
use crate::golden;
use crate::manifest;
use crate::subject::{Subject, stored, world_of};
use crate::support;

const KNOWN: &str = include_str!("tables.tsv");
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

/// The columns of a kind, each with its cell of the first manifest.
async fn columns(subject: &Subject<'_>) -> Vec<String> {
    let made = subject.create(0).await;
    let path = format!("/{}", subject.name(0));
    if subject.kind.has_status {
        let mut object = made;
        object["status"] = manifest::manifest(subject.kind, 0)["status"].take();
        subject.expect(200, "PUT", &format!("{path}/status"), &object).await;
    }
    let table = subject.ask("GET", &path, &[("accept", TABLE)], "").await.json();
    let cells = table["rows"][0]["cells"].as_array().expect("a row");
    let columns = table["columnDefinitions"].as_array().expect("columns");
    assert_eq!(cells.len(), columns.len(), "{}: {table}", subject.says());
    let line = |(column, cell): (&Value, &Value)| {
        let text = |key: &str| column[key].as_str().expect("text").to_owned();
        let (name, ty, format, description) = (text("name"), text("type"), text("format"), text("description"));
        // The words of the API are compared where they come from; here it matters that they are there.
        let begin: String = description.chars().take(60).map(|c| if c == '\n' { ' ' } else { c }).collect();
        format!("{}\t{name}\t{ty}\t{format}\t{}\t{cell}\t{begin}", subject.says(), column["priority"])
    };
    columns.iter().zip(cells).map(line).collect()
}

#[tokio::test]
async fn tables_of_every_kind_have_upstreams_columns_and_cells() {
    // Ages are of this moment.
    let clock = Manual::new("2026-03-04T05:06:07Z".parse().expect("a time"));
    let cluster = world_of(support::usual().clock(clock)).await;
    let client = Client::admin(&cluster).await;
    let mut found = Vec::new();
    for kind in stored() {
        found.extend(columns(&Subject::new(kind, &client)).await);
    }
    let wrong = golden::changed(&found, KNOWN);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
