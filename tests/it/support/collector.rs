//! An OTLP collector: takes what a process exports, and keeps it decoded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// An OTLP collector that keeps what it gets.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<(String, Bytes)>>>);

impl Collector {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let keep = |State(Self(got)): State<Self>, uri: Uri, body: Bytes| async move {
            got.lock().unwrap().push((uri.path().to_owned(), body));
        };
        let app = Router::new().fallback(keep).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (collector, address)
    }

    pub(crate) fn bodies<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let got = self.0.lock().unwrap();
        got.iter().filter(|(p, _)| p == path).map(|(_, body)| M::decode(body.clone()).unwrap()).collect()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests: Vec<ExportTraceServiceRequest> = self.bodies("/v1/traces");
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// The value of an attribute that must be there.
#[track_caller]
pub(crate) fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> &'a Value {
    let found =
        attributes.iter().find(|a| a.key == name).unwrap_or_else(|| panic!("{name} in {attributes:?}"));
    found.value.as_ref().unwrap().value.as_ref().unwrap()
}

/// An id as logs and headers show it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
