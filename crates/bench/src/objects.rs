//! The objects that benchmarks create: sizes as in the peers' measurements.

use bytes::Bytes;
use serde_json::json;

/// A kind to create.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    #[value(name = "configmaps")]
    ConfigMap,
    #[value(name = "pods")]
    Pod,
}

impl Kind {
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Pod => "pods",
        }
    }

    /// A new object.
    pub(crate) fn object(self, name: &str) -> Bytes {
        let object = match self {
            Self::ConfigMap => config_map(name),
            Self::Pod => pod(name),
        };
        Bytes::from(object.to_string())
    }
}

/// About 325 bytes.
fn config_map(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "data"}},
        "data": {"config": "x".repeat(180)},
    })
}

/// About 1.4 KB.
fn pod(name: &str) -> serde_json::Value {
    let env: Vec<_> =
        (0..8).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": format!("some value {n}")})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "pod-template-hash": "5d4f8c7b9", "tier": "web"},
            "annotations": {"example.org/about": "a pod as a deployment would make it"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "registry.example.org/library/web:1.27.3", "command": ["/bin/web", "--listen=:8080"],
                "env": env, "ports": [{"containerPort": 8080, "name": "http"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/web"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "web"}}],
            // Nothing schedules in this benchmark; the name keeps a scheduler that runs away from it, too.
            "schedulerName": "bench",
        },
    })
}
