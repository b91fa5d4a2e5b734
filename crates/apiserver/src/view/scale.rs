//! What is no object of the kind that it stands under (a Scale, a token, the answer to a question) in the forms in which objects
//! are shown.

use bytes::Bytes;
use gantry_api::{Value, value};
use serde_json::json;

use super::{Include, ListMeta, Shape, View, partial_value, table_head};
use crate::registry::Column;
use crate::registry::columns::{AGE, NAME, age, column, header};

/// Upstream's, whatever the Scale is of.
const COLUMNS: &[Column] = &[
    NAME,
    column("Desired", "integer", "Replicas that are wanted"),
    column("Available", "integer", "Replicas that there are"),
    AGE,
];

impl Shape {
    /// What is answered for `plain`, which is JSON. Of these a Scale alone has columns: for the others no table is ever chosen.
    pub(crate) fn plain(&self, plain: Bytes) -> Bytes {
        let parsed = || serde_json::from_slice::<Value>(&plain).unwrap_or_default();
        match self.view {
            View::Full => plain,
            View::Metadata(version) => partial_value(version, &parsed()["metadata"]).to_string().into(),
            View::Table(version) => {
                let scale = parsed();
                let revision = value::str_at(&scale, "metadata.resourceVersion").and_then(|v| v.parse().ok());
                let meta = ListMeta { revision: revision.unwrap_or(0), ..ListMeta::default() };
                let mut row = json!({"cells": [
                    scale["metadata"]["name"],
                    value::i64_at(&scale, "spec.replicas").unwrap_or(0),
                    value::i64_at(&scale, "status.replicas").unwrap_or(0),
                    age(&scale, self.now),
                ]});
                match self.include {
                    Include::None => {}
                    Include::Metadata => row["object"] = partial_value(version, &scale["metadata"]),
                    Include::Object => row["object"] = scale,
                }
                let mut out = table_head(version, COLUMNS.iter().map(header).collect(), &meta);
                out.extend_from_slice(row.to_string().as_bytes());
                out.extend_from_slice(b"]}");
                out.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::MetaVersion;

    #[test]
    fn a_scale_comes_in_every_form() {
        let metadata = json!({"name": "web", "resourceVersion": "7", "creationTimestamp": "1970-01-01T00:00:00Z"});
        let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": {"replicas": 3}, "status": {}});
        let shown = |view, include| {
            let now = jiff::Timestamp::from_second(60).expect("in range");
            let bytes = Shape { view, include, now }.plain(scale.to_string().into());
            serde_json::from_slice::<Value>(&bytes).expect("JSON")
        };
        assert_eq!(shown(View::Full, Include::Metadata), scale);
        let partial = shown(View::Metadata(MetaVersion::V1Beta1), Include::Metadata);
        assert_eq!(
            partial,
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1beta1", "metadata": metadata})
        );
        let table = shown(View::Table(MetaVersion::V1), Include::Metadata);
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
        assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
        let names: Vec<&Value> =
            table["columnDefinitions"].as_array().into_iter().flatten().map(|column| &column["name"]).collect();
        assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
        assert_eq!(table["rows"][0]["cells"], json!(["web", 3, 0, "60s"]));
        assert_eq!(table["rows"][0]["object"]["metadata"], metadata);
        assert_eq!(shown(View::Table(MetaVersion::V1), Include::Object)["rows"][0]["object"], scale);
        assert_eq!(shown(View::Table(MetaVersion::V1), Include::None)["rows"][0].get("object"), None);
    }
}
