//! What every gRPC tool expects of a server: health, reflection, deadlines, errors with details.

use std::time::Duration;

use gantry_apiserver::testing::Builder;
use gantry_proto::v1::cluster_client::ClusterClient;
use gantry_proto::v1::objects_client::ObjectsClient;
use gantry_proto::v1::{GetRequest, Resource, VersionRequest, WatchRequest};
use gantry_store::MemoryStore;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use crate::support::Cluster;

fn channel(cluster: &Cluster, user: Option<&str>) -> Channel {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(cluster.server.ca_pem()));
    if let Some(user) = user {
        let identity = cluster.server.identity(user, &["system:masters"]);
        tls = tls.identity(Identity::from_pem(identity.cert_pem, identity.key_pem));
    }
    Endpoint::from_shared(cluster.server.url()).expect("an address").tls_config(tls).expect("TLS").connect_lazy()
}

fn service(name: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: name.to_owned() }
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let cluster = Cluster::start().await;
    let mut health = HealthClient::new(channel(&cluster, None));
    for name in ["", "gantry.v1.Objects", "gantry.v1.Nodes", "gantry.v1.Sessions", "gantry.v1.Cluster"] {
        let answer = health.check(service(name)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{name}");
    }
    assert_eq!(health.check(service("gantry.v1.Nothing")).await.expect_err("unknown").code(), Code::NotFound);
    let mut unknown = health.watch(service("gantry.v1.Nothing")).await.expect("watched").into_inner();
    let first = unknown.message().await.expect("told").expect("a message");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    // Nothing else is told to strangers.
    let refused = ClusterClient::new(channel(&cluster, None)).version(VersionRequest {}).await;
    assert!(refused.is_ok(), "but the version");
    let get = GetRequest { resource: Some(configmaps()), name: "c".to_owned(), ..GetRequest::default() };
    let refused = ObjectsClient::new(channel(&cluster, None)).get(get).await.expect_err("nobody");
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn health_follows_start_and_stop() {
    let store = MemoryStore::new();
    // Several answers, one after the other, are between the start and a server that serves: a client has been heard by then.
    store.faults().delay(Duration::from_secs(2));
    let cluster = Cluster::now(Builder::default().store(std::sync::Arc::new(store.clone()))).await;
    let mut health = HealthClient::new(channel(&cluster, None));
    let mut watch = health.watch(service("")).await.expect("watched").into_inner();
    let next = async |watch: &mut tonic::Streaming<_>| {
        let message: Option<tonic_health::pb::HealthCheckResponse> = watch.message().await.expect("told");
        message.map(|m| m.status())
    };
    assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
    store.faults().delay(Duration::ZERO);
    assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
    let (server, _folder) = cluster.into_parts();
    let stopped = gantry_common::task::spawn("stop", server.stop());
    assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
    assert_eq!(next(&mut watch).await, None, "the stream ends, so that draining does not wait for it");
    stopped.await.expect("stopped");
}

async fn reflected(channel: Channel, request: MessageRequest) -> Result<MessageResponse, tonic::Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer: Option<ServerReflectionResponse> = answers.message().await?;
    Ok(answer.and_then(|a| a.message_response).expect("an answer"))
}

#[tokio::test]
async fn reflection_knows_the_services_and_takes_a_caller() {
    let cluster = Cluster::start().await;
    let admin = || channel(&cluster, Some("admin"));
    let list = MessageRequest::ListServices(String::new());
    let MessageResponse::ListServicesResponse(listed) = reflected(admin(), list.clone()).await.expect("told") else {
        panic!("a list was asked for");
    };
    let names: Vec<&str> = listed.service.iter().map(|s| s.name.as_str()).collect();
    for name in ["gantry.v1.Objects", "gantry.v1.Sessions", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("gantry.v1.WatchRequest".to_owned());
    let MessageResponse::FileDescriptorResponse(file) = reflected(admin(), symbol).await.expect("told") else {
        panic!("a file was asked for");
    };
    assert!(file.file_descriptor_proto.iter().any(|f| f.windows(9).any(|w| w == b"gantry.v1")));
    let refused = reflected(channel(&cluster, None), list).await.expect_err("nobody");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(admin());
    let answers = older.server_reflection_info(tokio_stream::once(request)).await.expect("told");
    let answer = answers.into_inner().message().await.expect("told").and_then(|a| a.message_response);
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed)) = answer else {
        panic!("a list was asked for");
    };
    assert!(listed.service.iter().any(|s| s.name == "gantry.v1.Objects"));
}

fn configmaps() -> Resource {
    Resource { group: String::new(), version: "v1".to_owned(), resource: "configmaps".to_owned() }
}

fn status_of(error: &tonic::Status) -> serde_json::Value {
    let json = gantry_proto::failure::unpack(error.details()).expect("a failure in the details");
    serde_json::from_slice(&json).expect("a Status")
}

#[tokio::test]
async fn a_watch_ends_with_its_deadline() {
    let cluster = Cluster::start().await;
    let mut objects = ObjectsClient::new(channel(&cluster, Some("admin")));
    let watch = WatchRequest { resource: Some(configmaps()), send_initial_events: true, ..WatchRequest::default() };
    let mut request = Request::new(watch);
    // It counts from the connection's handshake on, and the watch must have begun by then.
    request.set_timeout(Duration::from_secs(3));
    let mut events = objects.watch(request).await.expect("watched").into_inner();
    let ended = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end must say why"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    let details = status_of(&ended);
    assert_eq!((&details["kind"], &details["reason"]), (&"Status".into(), &"Timeout".into()));
}

#[tokio::test]
async fn errors_carry_the_kubernetes_status() {
    let cluster = Cluster::start().await;
    let get = GetRequest {
        resource: Some(configmaps()),
        namespace: "default".to_owned(),
        name: "none".to_owned(),
        ..GetRequest::default()
    };
    let error = ObjectsClient::new(channel(&cluster, Some("admin"))).get(get).await.expect_err("none");
    let details = status_of(&error);
    assert_eq!((error.code(), &details["code"], &details["reason"]), (Code::NotFound, &404.into(), &"NotFound".into()));
    assert_eq!(details["message"], error.message());
    assert_eq!(details["details"], serde_json::json!({"name": "none", "kind": "configmaps"}));
}
