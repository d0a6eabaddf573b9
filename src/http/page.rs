//! `GET /`: the status for people. One page without scripts, made from the same JSON as `/api/v1/status`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

use super::state::Shared;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
    table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;\
    border-top:1px solid #ddd}th{font-weight:600}td{overflow-wrap:anywhere}.failing{color:#b00020}";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
/// The status is our own and flat; deeper values are shown as JSON.
const MAX_DEPTH: usize = 6;

/// The page; 503 where the status cannot be told.
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let health = serde_json::to_value(shared.state.health.verdict(Instant::now())).unwrap_or_default();
    let (code, status) = match shared.status().await {
        Ok(status) => (StatusCode::OK, serde_json::to_value(status).unwrap_or_default()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, Value::from(why)),
    };
    (code, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(render(&health, &status))).into_response()
}

fn render(health: &Value, status: &Value) -> String {
    let class = health["status"].as_str().unwrap_or_default();
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>course-sharing</title><style>{STYLE}</style><h1>course-sharing</h1>\
         <h2>Worker</h2><div class=\"{}\">",
        escape(class)
    );
    value(&mut page, health, 0);
    page.push_str("</div><h2>Status</h2>");
    value(&mut page, status, 0);
    page.push_str("<p>The same as JSON: <a href=\"api/v1/status\">api/v1/status</a></p></html>\n");
    page
}

fn value(page: &mut String, shown: &Value, depth: usize) {
    match shown {
        Value::Object(members) if depth < MAX_DEPTH => {
            page.push_str("<table>");
            for (name, member) in members {
                // Writing to a String cannot fail.
                let _ = write!(page, "<tr><th>{}<td>", escape(&name.replace('_', " ")));
                value(page, member, depth + 1);
            }
            page.push_str("</table>");
        }
        Value::Array(items) if depth < MAX_DEPTH && !items.is_empty() => {
            page.push_str("<ul>");
            for item in items {
                page.push_str("<li>");
                value(page, item, depth + 1);
            }
            page.push_str("</ul>");
        }
        Value::Array(items) if items.is_empty() => page.push('–'),
        Value::Null => page.push('–'),
        Value::String(text) => page.push_str(&escape(text)),
        other => page.push_str(&escape(&other.to_string())),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_cannot_become_markup() {
        let status = json!({ "last_pass": { "why": "<script>alert('x')</script>" }, "<b>": [1, null, []] });
        let page = render(&json!({ "status": "ok" }), &status);
        assert!(
            page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") && !page.contains("<script")
        );
        assert!(page.contains("last pass") && page.contains("&lt;b&gt;") && page.contains('–'), "{page}");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = (0..50).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(render(&json!({}), &deep).matches("<table>").count(), MAX_DEPTH + 1);
    }
}
