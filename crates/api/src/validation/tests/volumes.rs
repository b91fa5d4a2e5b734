//! Volumes of pods, their mounts, devices and claims.

use serde_json::json;

use super::pods::{pod, with};
use super::{LABEL, SUBDOMAIN, check, check_update, kind, texts};
use crate::Value;
use crate::validation::status_update;

#[test]
fn volumes_and_mounts() {
    let volumes = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "h", "hostPath": {"path": "/x"}},
        {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}]);
    let mut valid = pod(json!({"volumes": volumes, "serviceAccountName": "default"}));
    valid["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/v", "subPath": "a/b"}, {"name": "p", "mountPath": "/p"}]);
    check("Pod", valid, &[]);
    let mut bad = pod(json!({"serviceAccountName": "default", "volumes": [
        {"name": "A"}, {"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}, {"name": "a", "configMap": {}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 512, "items": [{"key": "k", "path": "../x"}]}},
        {"name": "h", "hostPath": {"path": "/a/../b", "type": "Tree"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}},
            {"secret": {"name": "s", "items": [{"key": "k", "path": "t"}]}}]}}]}));
    bad["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "x", "mountPath": "/v"},
        {"name": "a", "mountPath": "/v", "subPath": "/b", "mountPropagation": "Bidirectional"}]);
    check(
        "Pod",
        bad,
        &[
            &format!("spec.volumes[0].name: Invalid value: \"A\": {LABEL}"),
            "spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[2].configMap.name: Required value",
            "spec.volumes[3].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
             inclusive",
            "spec.volumes[3].secret.items[0].path: Invalid value: \"../x\": must not contain '..'",
            "spec.volumes[4].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.volumes[4].hostPath.type: Unsupported value: \"Tree\": supported values: \"\", \"BlockDevice\", \
             \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            "spec.volumes[5].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not \
             specify a duration less than 10 minutes",
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
            "spec.containers[0].volumeMounts[1].name: Not found: \"a\"",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique",
            "spec.containers[0].volumeMounts.subPath: Invalid value: \"/b\": must be a relative path",
            "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is \
             available only to privileged containers",
        ],
    );
}

#[test]
fn sources_of_volumes() {
    let template = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"accessModes": ["Some"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let cases: [(Value, &[&str]); 19] = [
        (json!({"emptyDir": {"medium": "Anything"}}), &[]),
        (json!({"nfs": {"server": "s", "path": "a"}}), &["nfs.path: Invalid value: \"a\": must be an absolute path"]),
        (
            json!({"csi": {"driver": "a_b", "nodePublishSecretRef": {}}}),
            &[
                &format!("csi.driver: Invalid value: \"a_b\": {SUBDOMAIN}"),
                "csi.nodePublishSecretRef.name: Required value",
            ],
        ),
        (json!({"gcePersistentDisk": {"pdName": ""}}), &["persistentDisk.pdName: Required value"]),
        (
            json!({"awsElasticBlockStore": {"volumeID": "v", "partition": 256}}),
            &["awsElasticBlockStore.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
        ),
        (
            json!({"quobyte": {"registry": "a", "volume": "v"}}),
            &["quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas"],
        ),
        (json!({"flocker": {}}), &["flocker: Required value: one of datasetName and datasetUUID is required"]),
        (json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2015-02.example.com:test", "lun": 1}}), &[]),
        (json!({"iscsi": {"targetPortal": "p", "iqn": "eui.0123456789abcdef", "lun": 1}}), &[]),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.15-02.example.com:test", "lun": 256, "chapAuthSession": true,
                "initiatorName": "x"}}),
            &[
                "iscsi.iqn: Invalid value: \"iqn.15-02.example.com:test\": must be valid format",
                "iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "iscsi.secretRef: Required value",
                "iscsi.initiatorname: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
            ],
        ),
        (json!({"fc": {}}), &["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
        (json!({"fc": {"targetWWNs": ["w"]}}), &["fc.lun: Required value: lun is required if targetWWNs is specified"]),
        (json!({"cinder": {"volumeID": "v", "secretRef": {}}}), &["cinder.secretRef.name: Required value"]),
        (
            json!({"flexVolume": {"driver": "d", "options": {"x.k8s.io/a": "1"}}}),
            &[
                "flexVolume.options[x.k8s.io/a]: Invalid value: \"x.k8s.io/a\": kubernetes.io and k8s.io namespaces are \
               reserved",
            ],
        ),
        (
            json!({"azureDisk": {"diskName": "d", "diskURI": "u"}}),
            &["azureDisk.diskURI: Unsupported value: \"u\": supported values: \
               \"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\""],
        ),
        (json!({"scaleIO": {"gateway": "g", "secretRef": {}, "system": "s"}}), &["scaleIO.volumeName: Required value"]),
        (json!({"ephemeral": {}}), &["ephemeral.volumeClaimTemplate: Required value"]),
        (
            json!({"ephemeral": {"volumeClaimTemplate": template}}),
            &[
                "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
                "ephemeral.volumeClaimTemplate.spec.accessModes: Unsupported value: \"Some\": supported values: \
                 \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ],
        ),
        (json!({"image": {}}), &["image.reference: Required value"]),
    ];
    for (source, expected) in cases {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().expect("a map").extend(source.as_object().expect("a map").clone());
        let expected: Vec<String> = expected.iter().map(|e| format!("spec.volumes[0].{e}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check("Pod", pod(json!({"volumes": [volume]})), &expected);
    }
}

#[test]
fn of_several_sources_the_first_counts() {
    let pairs = pod(json!({"volumes": [{"name": "v", "quobyte": {"registry": "a:1,[::1]:2", "volume": "v"}},
        {"name": "w", "csi": {"driver": "a.b"}}]}));
    check("Pod", pairs, &[]);
    let both = pod(json!({"volumes": [{"name": "v", "csi": {"driver": ""}, "nfs": {"server": "s", "path": "/"}}]}));
    check("Pod", both, &["spec.volumes[0].csi: Forbidden: may not specify more than 1 volume type"]);
}

#[test]
fn projected_files() {
    let of = |sources: Value| pod(json!({"volumes": [{"name": "v", "projected": {"sources": sources}}]}));
    let at = "spec.volumes[0].projected";
    let file = |path: &str| json!({"secret": {"name": "s", "items": [{"key": "k", "path": path}]}});
    check("Pod", of(json!([{}])), &[]);
    check(
        "Pod",
        of(json!([file("a"), file("a"), {"secret": {"name": "s"}, "configMap": {"name": "m"}},
            {"downwardAPI": {"items": [{"path": "..b"}]}}])),
        &[
            &format!("{at}: Invalid value: \"s\": conflicting duplicate paths"),
            &format!("{at}.sources[2]: Forbidden: may not specify more than 1 volume type per source"),
            &format!("{at}.sources[3].downwardAPI.path: Invalid value: \"..b\": must not start with '..'"),
            &format!("{at}.sources[3].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"),
        ],
    );
    let bundle = |bundle: Value| of(json!([{"clusterTrustBundle": bundle}]));
    check("Pod", bundle(json!({"name": "example.com:a:b", "path": "p"})), &[]);
    check("Pod", bundle(json!({"signerName": "example.com/a", "path": "p"})), &[]);
    check(
        "Pod",
        bundle(json!({})),
        &[
            &format!("{at}.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"),
            &format!("{at}.sources[0].clusterTrustBundle.path: Required value"),
        ],
    );
}

#[test]
fn devices_and_claims() {
    let container = |devices: Value, mounts: Value| {
        let mut pod = with(json!({"volumeDevices": devices, "volumeMounts": mounts}));
        pod["spec"]["volumes"] =
            json!([{"name": "c", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {}}]);
        pod
    };
    let at = "spec.containers[0]";
    check("Pod", container(json!([{"name": "c", "devicePath": "/dev/c"}]), json!([])), &[]);
    check(
        "Pod",
        container(
            json!([{"name": "e", "devicePath": "/d"}, {"name": "c", "devicePath": "/d"}]),
            json!([{"name": "c", "mountPath": "/m", "recursiveReadOnly": "Enabled"}]),
        ),
        &[
            &format!("{at}.volumeMounts[0].name: Invalid value: \"c\": must not already exist in volumeDevices"),
            &format!("{at}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
            &format!(
                "{at}.volumeDevices[0].name: Invalid value: \"e\": can only use volume source type of \
                 PersistentVolumeClaim or Ephemeral for block mode"
            ),
            &format!("{at}.volumeDevices[1].devicePath: Invalid value: \"/d\": must be unique"),
            &format!("{at}.volumeDevices[1].name: Invalid value: \"c\": must not already exist in volumeMounts"),
        ],
    );
    let mut claims =
        with(json!({"resources": {"claims": [{"name": "a"}, {"name": "a", "request": "r"}, {"name": "x"}]}}));
    claims["spec"]["resourceClaims"] = json!([{"name": "a", "resourceClaimName": "c"}, {"name": "b"}]);
    check(
        "Pod",
        claims,
        &[
            "spec.resourceClaims[1]: Invalid value: {\"Name\":\"b\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, \
             `resourceClaimTemplateName`",
            &format!("{at}.resources.claims[1]: Duplicate value: \"a\""),
            &format!(
                "{at}.resources.claims[2]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims: a, b"
            ),
        ],
    );
}

#[test]
fn status_of_claims() {
    let claim = |status: Value| {
        json!({"metadata": {"name": "x", "namespace": "n", "resourceVersion": "1"}, "status": status, "spec":
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let found = |status| texts(&status_update(kind("PersistentVolumeClaim"), &claim(status), &claim(json!({}))));
    let fine = json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi", "a.b/c": "1"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"}});
    assert_eq!(found(fine), Vec::<String>::new());
    assert_eq!(
        found(json!({"capacity": {"storage": "-1500m"}, "allocatedResources": {"cpu": "1", "storage": "-1"},
            "allocatedResourceStatuses": {"storage": "x", "memory": "NodeResizePending"}})),
        [
            "status.capacity[storage]: Invalid value: -2: must be a valid resource quantity",
            "status.allocatedResourceStatus: Unsupported value: \"memory\": supported values: \"storage\"",
            "status.allocatedResourceStatus: Unsupported value: \"storage\": supported values: \
             \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \
             \"NodeResizeInfeasible\", \"NodeResizePending\"",
            "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"",
            "status.allocatedResources[storage]: Invalid value: -1: must be a valid resource quantity",
        ]
    );
}

/// The class of a claim by its annotation of old, and by its field.
#[test]
fn classes_of_claims() {
    let claim = |(annotation, field): (Option<&str>, Option<&str>)| {
        let mut claim = json!({"metadata": {"name": "x", "namespace": "n", "resourceVersion": "1"}, "spec":
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        if let Some(class) = annotation {
            claim["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": class});
        }
        if let Some(class) = field {
            claim["spec"]["storageClassName"] = class.into();
        }
        claim
    };
    for (old, new) in [
        ((None, None), (None, Some("a"))),
        ((Some("a"), None), (Some("a"), Some("a"))),
        ((Some("a"), None), (None, Some("a"))),
        ((None, None), (Some(""), None)),
    ] {
        check_update("PersistentVolumeClaim", claim(new), claim(old), &[]);
    }
    let at = "metadata.annotations.volume.beta.kubernetes.io/storage-class";
    for (old, new, shown) in [
        ((Some("a"), None), (Some("b"), None), "b"),
        ((Some("a"), None), (None, None), ""),
        ((None, Some("a")), (Some("a"), Some("a")), "a"),
    ] {
        let expected = format!("{at}: Invalid value: {shown:?}: field is immutable");
        check_update("PersistentVolumeClaim", claim(new), claim(old), &[&expected]);
    }
    let (old, new) = (claim((Some("a"), None)), claim((Some("a"), Some("b"))));
    let errors = texts(&crate::validation::update(kind("PersistentVolumeClaim"), &new, &old));
    assert!(
        errors.len() == 1 && errors[0].starts_with("spec: Forbidden: spec is immutable after creation"),
        "{errors:?}"
    );
}
