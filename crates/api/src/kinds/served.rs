//! The other served kinds, by API group.

use super::{Generation, Served, plain};

const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];

/// A kind with a generation that follows its spec.
const fn tracked(group: &'static str, resource: &'static str, subresources: &'static [&'static str]) -> Served {
    Served { generation: Generation::Spec, subresources, ..plain(group, resource) }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// A kind with a status and no generation.
const fn with_status(group: &'static str, resource: &'static str) -> Served {
    Served { subresources: STATUS, ..plain(group, resource) }
}

pub(super) const SERVED: &[Served] = &[
    Served { generation: Generation::Content, ..plain("", "podtemplates") },
    Served { storage: "controllers", fields: &["status.replicas"], ..tracked("", "replicationcontrollers", SCALE) },
    Served { storage: "apiregistration.k8s.io/apiservices", ..with_status("apiregistration.k8s.io", "apiservices") },
    plain("apps", "controllerrevisions"),
    tracked("apps", "daemonsets", STATUS),
    tracked("apps", "statefulsets", SCALE),
    tracked("batch", "cronjobs", STATUS),
    Served { fields: &["status.successful"], ..tracked("batch", "jobs", STATUS) },
    Served {
        storage: "services/endpoints",
        deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ..plain("", "endpoints")
    },
    Served { deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"), ..plain("", "componentstatuses") },
    Served {
        storage: "apiextensions.k8s.io/customresourcedefinitions",
        ..tracked("apiextensions.k8s.io", "customresourcedefinitions", STATUS)
    },
    plain("", "limitranges"),
    with_status("", "persistentvolumeclaims"),
    with_status("", "persistentvolumes"),
    with_status("", "resourcequotas"),
    Served {
        fields: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        hub: Some(("", "v1")),
        ..plain("events.k8s.io", "events")
    },
    Served { version: "v2", ..with_status("autoscaling", "horizontalpodautoscalers") },
    Served {
        version: "v1",
        hub: Some(("autoscaling", "v2")),
        ..with_status("autoscaling", "horizontalpodautoscalers")
    },
    Served {
        subresources: &["approval", "status"],
        fields: &["spec.signerName"],
        ..plain("certificates.k8s.io", "certificatesigningrequests")
    },
    tracked(FLOW, "flowschemas", STATUS),
    tracked(FLOW, "prioritylevelconfigurations", STATUS),
    tracked(NETWORKING, "ingressclasses", &[]),
    Served { storage: "ingress", ..tracked(NETWORKING, "ingresses", STATUS) },
    plain(NETWORKING, "ipaddresses"),
    tracked(NETWORKING, "networkpolicies", &[]),
    with_status(NETWORKING, "servicecidrs"),
    plain("node.k8s.io", "runtimeclasses"),
    tracked("policy", "poddisruptionbudgets", STATUS),
    tracked(RESOURCE, "deviceclasses", &[]),
    with_status(RESOURCE, "resourceclaims"),
    plain(RESOURCE, "resourceclaimtemplates"),
    Served { fields: &["spec.nodeName", "spec.driver"], ..tracked(RESOURCE, "resourceslices", &[]) },
    Served { generation: Generation::LaterSpec, ..plain(STORAGE, "csidrivers") },
    plain(STORAGE, "csinodes"),
    plain(STORAGE, "csistoragecapacities"),
    plain(STORAGE, "storageclasses"),
    with_status(STORAGE, "volumeattachments"),
    plain(STORAGE, "volumeattributesclasses"),
    tracked(ADMISSION, "mutatingadmissionpolicies", &[]),
    tracked(ADMISSION, "mutatingadmissionpolicybindings", &[]),
    Served { generation: Generation::Content, ..plain(ADMISSION, "mutatingwebhookconfigurations") },
    tracked(ADMISSION, "validatingadmissionpolicies", STATUS),
    tracked(ADMISSION, "validatingadmissionpolicybindings", &[]),
    Served { generation: Generation::Content, ..plain(ADMISSION, "validatingwebhookconfigurations") },
];
