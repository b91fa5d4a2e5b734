//! What a new cluster holds by itself, and what its configuration lets in.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::{Cluster, pod};

#[tokio::test]
async fn the_four_namespaces_are_there() {
    let cluster = Cluster::start().await;
    let list = cluster.rest("GET", "/api/v1/namespaces", &[], "").await.json();
    let names: Vec<&str> =
        list["items"].as_array().into_iter().flatten().filter_map(|n| n["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert!(list["items"].as_array().into_iter().flatten().all(|n| n["status"]["phase"] == "Active"));
}

#[tokio::test]
async fn the_kubernetes_service_and_its_endpoints_come_back() {
    let builder = Builder::default().configure(|config| {
        config.advertise_address = Some([192, 0, 2, 10].into());
    });
    let cluster = Cluster::with(builder).await;
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let service = "/api/v1/namespaces/default/services/kubernetes";
    // Made after the start, and looked at again every ten seconds.
    let found = async |path: &str| loop {
        let answer = cluster.rest("GET", path, &[], "").await;
        if answer.code == 200 {
            return answer.json();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let made = found(slice).await;
    assert_eq!(made["endpoints"][0]["addresses"], json!(["192.0.2.10"]));
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/service-name"], "kubernetes");
    for path in [slice, service] {
        assert_eq!(cluster.rest("DELETE", path, &[], "").await.code, 200);
    }
    let again = found(slice).await;
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(again["endpoints"], made["endpoints"]);
    assert_eq!(found(service).await["spec"]["clusterIP"], "10.96.0.1");
}

#[tokio::test]
async fn static_tokens_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens.csv");
    std::fs::write(&file, "letmein,alice,7,\"system:masters,dev\"\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(|config| config.token_auth_file = Some(file))).await;
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        cluster.bare("POST", who, &[("authorization", &bearer)], "{}").await
    };
    let user: Value = ask("letmein").await.json()["status"]["userInfo"].clone();
    assert_eq!((&user["username"], &user["uid"]), (&json!("alice"), &json!("7")));
    assert_eq!(user["groups"], json!(["system:masters", "dev", "system:authenticated"]));
    assert_eq!(ask("letmeout").await.code, 401);
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
    assert_eq!(cluster.rest("POST", classes, &[], &class.to_string()).await.code, 201);
    let pods = "/api/v1/namespaces/default/pods";
    let mut classy = pod("p");
    classy["spec"]["priorityClassName"] = "high".into();
    let made = cluster.rest("POST", pods, &[], &classy.to_string()).await.json();
    assert_eq!((&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    let mut chosen = pod("q");
    chosen["spec"]["priority"] = 7.into();
    assert_eq!(cluster.rest("POST", pods, &[], &chosen.to_string()).await.code, 403);
    let default = json!({"metadata": {"name": "usual"}, "value": 5, "globalDefault": true});
    assert_eq!(cluster.rest("POST", classes, &[], &default.to_string()).await.code, 201);
    // The default is looked up in the watch cache, which follows.
    let mut name = 0;
    let priority = loop {
        name += 1;
        let made = cluster.rest("POST", pods, &[], &pod(&format!("r{name}")).to_string()).await.json();
        if made["spec"]["priority"] != 0 {
            break made["spec"]["priority"].clone();
        }
    };
    assert_eq!(priority, 5);
}

#[tokio::test]
async fn names_choose_the_certificate() {
    gantry_common::tls::install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("named.crt"), folder.path().join("named.key"));
    let pair = rcgen::KeyPair::generate().expect("a key");
    let made = rcgen::CertificateParams::new(vec!["api.example.com".to_owned()]).expect("a name");
    let made = made.self_signed(&pair).expect("a certificate");
    std::fs::write(&cert, made.pem()).expect("written");
    std::fs::write(&key, pair.serialize_pem()).expect("written");
    let named = format!("{},{}:*.example.com", cert.display(), key.display()).parse().expect("good");
    let cluster =
        Cluster::with(Builder::default().configure(|config| config.serving.tls_sni_cert_keys = vec![named])).await;
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let shown = async |name: &'static str| {
        let config = gantry_common::tls::unverified_client_config(None, &[b"http/1.1"]).expect("valid");
        let stream = tokio::net::TcpStream::connect(&address).await.expect("connects");
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = connector.connect(name.try_into().expect("a name"), stream).await.expect("shakes hands");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone()
    };
    assert_eq!(shown("www.example.com").await, *made.der());
    assert_ne!(shown("localhost").await, *made.der());
}

#[tokio::test]
async fn nobody_may_be_shut_out() {
    let health = async |anonymous: bool| {
        let cluster =
            Cluster::with(Builder::default().configure(move |config| config.anonymous_auth = anonymous)).await;
        cluster.bare("GET", "/readyz", &[], "").await.code
    };
    assert_eq!((health(true).await, health(false).await), (200, 401));
}

#[tokio::test]
async fn pods_wait_for_lost_nodes_as_long_as_the_flags_say() {
    let cluster = Cluster::with(Builder::default().configure(|config| {
        config.default_not_ready_toleration_seconds = 5;
        config.default_unreachable_toleration_seconds = 7;
    }))
    .await;
    cluster.default_account().await;
    let made = cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &pod("p").to_string()).await.json();
    let seconds =
        made["spec"]["tolerations"].as_array().expect("a list").iter().map(|t| t["tolerationSeconds"].clone());
    assert_eq!(seconds.collect::<Vec<_>>(), [json!(5), json!(7)]);
}
