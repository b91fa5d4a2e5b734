//! The protobuf bodies that kubectl sends, against the JSON that it prints of the same objects.

use gantry_api::{Value, decode};

use crate::present;
use crate::server::{Form, Server};

fn type_of(value: &Value) -> String {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let (group, version) = gantry_api::kinds::split_api_version(text("apiVersion"));
    gantry_api::kinds::type_name(group, version, text("kind"))
}

/// Runs a `create` command for real and as a dry run, and compares the object sent with the one printed.
fn check(server: &Server, command: &str) {
    let arguments: Vec<&str> = command.split(' ').collect();
    let printed = server.kubectl(&[&["--dry-run=client", "-o", "json"], arguments.as_slice()].concat());
    server.posted();
    server.kubectl(&arguments);
    let posted = server.posted();
    let sent = posted.last().expect("something was posted");
    assert_eq!(sent.content_type, "application/vnd.kubernetes.protobuf", "{command}");
    let sent = decode::protobuf(&sent.body).unwrap_or_else(|e| panic!("{command}: {e}"));
    let mut printed: Value = serde_json::from_str(&printed).expect("kubectl prints JSON");
    let type_name = type_of(&printed);
    decode::conform(&mut printed, &type_name).expect("kubectl prints what it means");
    assert_eq!(sent, printed, "{command}");
}

#[test]
fn protobuf_bodies_mean_what_kubectl_prints() {
    if !present() {
        return;
    }
    let server = Server::start(Form::Aggregated);
    for command in [
        "create deployment web --image=nginx --replicas=3 --port=80 -- sleep 1d",
        "create configmap m --from-literal=a=b --from-literal=c=",
        "create secret generic s --from-literal=a=b",
        "create secret docker-registry r --docker-username=u --docker-password=p",
        "create namespace n",
        "create serviceaccount a",
        "create service clusterip s --tcp=80:8080",
        "create service nodeport s --tcp=80:8080 --node-port=30080",
        "create service externalname s --external-name=example.com",
        "create role r --verb=get,list --resource=pods,deployments.apps --resource-name=x",
        "create clusterrole r --verb=get --non-resource-url=/logs/*",
        "create clusterrole g --aggregation-rule=a=b",
        "create rolebinding b --role=r --user=u --group=g --serviceaccount=default:a",
        "create clusterrolebinding b --clusterrole=r --serviceaccount=default:a",
        "create priorityclass p --value=0 --description=d --global-default=false",
        "create quota q --hard=cpu=1,memory=1G,pods=2 --scopes=BestEffort",
        "create job j --image=busybox -- date",
        "create cronjob c --image=busybox --schedule=*/1",
        "create ingress i --rule=example.com/a*=s:80,tls=t --class=nginx --annotation=a=b",
        "create poddisruptionbudget d --selector=a=b --min-available=50%",
    ] {
        check(&server, command);
    }
}

#[test]
fn questions_arrive_too() {
    if !present() {
        return;
    }
    let server = Server::start(Form::Aggregated);
    // The answers are echoes without a status, which kubectl takes for "no" and exits with 1; only what was asked matters here.
    let ask = |command: &str, path: &str, check: &dyn Fn(&Value)| {
        let arguments: Vec<&str> = command.split(' ').collect();
        server.run(&arguments);
        let posted = server.posted();
        let sent = posted.last().unwrap_or_else(|| panic!("{command} asks nothing"));
        assert!(sent.path.starts_with(path), "{command}: {}", sent.path);
        check(&decode::protobuf(&sent.body).unwrap_or_else(|e| panic!("{command}: {e}")));
    };
    ask("auth can-i list pods -n a", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &|v| {
        assert_eq!(v["spec"]["resourceAttributes"]["resource"], "pods");
        assert_eq!(v["spec"]["resourceAttributes"]["namespace"], "a");
    });
    ask("auth can-i get /logs", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &|v| {
        assert_eq!(v["spec"]["nonResourceAttributes"], serde_json::json!({"path": "/logs", "verb": "get"}));
    });
    ask("auth can-i --list", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &|v| {
        assert_eq!(v["spec"]["namespace"], "default");
    });
    ask("auth whoami", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &|v| {
        assert_eq!(v["kind"], "SelfSubjectReview")
    });
    ask("create token a --audience=x --duration=1h", "/api/v1/namespaces/default/serviceaccounts/a/token", &|v| {
        let spec = serde_json::json!({"audiences": ["x"], "boundObjectRef": null, "expirationSeconds": 3600});
        assert_eq!(v["spec"], spec);
    });
}
