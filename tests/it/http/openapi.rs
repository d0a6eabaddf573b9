//! The OpenAPI document against the router; `ops/openapi` holds it against the answers.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;

use super::port::with_port;
use crate::support::project::read;

/// Pages for people, and what they are made of.
const PAGES: [&str; 6] = ["/", "/blank", "/dead-letters", "/runbook", "/style.css", "/reload.js"];

/// Each path of the router with a method.
fn routes() -> BTreeSet<(String, String)> {
    let text = read("src/http/mod.rs");
    let routes = text.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let routes = routes.map(|rest| rest.split_once("\", ").unwrap());
    let methods = |handlers: &str| {
        let methods = ["get", "post", "put", "delete", "any"];
        methods.into_iter().filter(|method| handlers.contains(&format!("{method}("))).collect::<Vec<_>>()
    };
    let both = routes.flat_map(|(path, handlers)| {
        methods(handlers).into_iter().map(|method| (path.to_owned(), method.to_owned()))
    });
    both.filter(|(path, _)| !PAGES.contains(&&**path)).collect()
}

#[tokio::test]
async fn the_document_that_is_served_has_every_route_and_no_other() {
    with_port(async |port| {
        let (status, document) = port.get("/api/v1/openapi.json").await;
        assert_eq!((status, &document["openapi"]), (StatusCode::OK, &Value::from("3.1.0")));
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<_> = paths
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(described, routes());
        assert!(described.len() > 8, "{described:?}");
        // What needs no token says so.
        for (path, method) in &described {
            let open = document["paths"][path][method]["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(open, ["/healthz", "/readyz", "/metrics"].contains(&&**path), "{path}");
        }
    })
    .await;
}
