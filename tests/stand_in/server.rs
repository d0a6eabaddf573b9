//! One connection after another, one request after another: limits, faults, door, answer, latency.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::faults::Fault;
use super::wire::{self, Reply, Request};
use super::{LineLimit, State, control, courses, list, lock};

const LIST: &str = "/api/v1/course_runs/";
const COURSES: &str = "/api/v1/courses/";
const REMEMBERED: usize = 1000;
/// Pages in the cache, at most.
const CACHED: usize = 2000;

pub(super) async fn bind(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).await.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"))
}

/// Serves until the task is aborted; its connections end with it.
pub(super) fn accept(listener: TcpListener, state: Arc<Mutex<State>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            connections.spawn(serve(stream, Arc::clone(&state)));
            while connections.try_join_next().is_some() {}
        }
    })
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    // An error is the other side's going away, which ends this side too.
    while let Ok(Some(request)) = wire::read(&stream, &mut buffer).await {
        let counted = Counted::new(&state, &request);
        let (reply, latency) = dated(&mut lock(&state), &request);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let goes_on = wire::write(&stream, &reply).await;
        drop(counted);
        if !goes_on.unwrap_or(false) || lock(&state).setup.hangs_up {
            return;
        }
    }
}

/// The same with the time, by the Catalog's clock.
fn dated(state: &mut State, request: &Request) -> (Reply, Duration) {
    let (reply, latency) = answer(state, request);
    let time = chrono::Utc::now() + chrono::TimeDelta::seconds(state.setup.clock_ahead);
    (reply.with("Date", httpdate::fmt_http_date(time.into())), latency)
}

/// The reply, and how long it takes.
fn answer(state: &mut State, request: &Request) -> (Reply, Duration) {
    if request.path().starts_with("/_control/") {
        return (control::answer(state, request), Duration::ZERO);
    }
    if state.off {
        return (Reply::none(), Duration::ZERO);
    }
    if request.path() == "/oauth2/access_token" {
        return (token(state, request), Duration::ZERO);
    }
    state.stats.requests += 1;
    if state.stats.targets.len() == REMEMBERED {
        state.stats.targets.pop_front();
    }
    state.stats.targets.push_back(request.target.clone());
    if let Some(reply) = too_long(state.setup.line_limit, request) {
        return (reply, Duration::ZERO);
    }
    let latency = state.setup.latency;
    let fault = match &state.courses_fault {
        Some(fault) if request.path().ends_with(COURSES) => {
            state.stats.courses += 1;
            fault.clone()
        }
        _ => state.faults.next(&mut state.chance),
    };
    if let Some(mut reply) = fault.reply() {
        if let Some(given) = request.header("authorization").filter(|_| state.echo) {
            reply.body.extend_from_slice(given.as_bytes());
        }
        return (reply, latency);
    }
    let (reply, served) = serve_catalog(state, request);
    let served = u32::try_from(served).unwrap_or(u32::MAX);
    (
        Reply { arrival: fault.arrival(), ..reply },
        latency + state.setup.latency_per_run.saturating_mul(served),
    )
}

fn serve_catalog(state: &mut State, request: &Request) -> (Reply, usize) {
    let Some(path) = request.path().strip_prefix(state.setup.root.as_str()) else {
        return (Reply::not_found(), 0);
    };
    state.settle_drafts(false);
    let key = path.strip_prefix(LIST).map(str::to_owned);
    if key.is_none() && path != COURSES {
        return (Reply::not_found(), 0);
    }
    if let Some(reply) = state.doorkeeper.refuse(&state.setup, request) {
        return (reply, 0);
    }
    if let Some(reply) = state.doorkeeper.throttle(&state.setup, &mut state.stats) {
        return (reply, 0);
    }
    if request.method != "GET" {
        return (Reply::detail(403, "You do not have permission to perform this action."), 0);
    }
    let key = match key {
        Some(key) if !key.is_empty() => key,
        list => return cached(state, request, list.is_some()),
    };
    state.stats.singles += 1;
    (list::single(state, request, &key), 1)
}

/// A list, of runs or of courses; from the cache where this very URL was answered since the last save.
fn cached(state: &mut State, request: &Request, of_runs: bool) -> (Reply, usize) {
    if of_runs {
        state.stats.lists += 1;
        state.stats.keys_asked += list::keys_asked(request);
    } else {
        state.stats.courses += 1;
    }
    let saved = state.saved();
    let url = format!("{} {}", request.header("host").unwrap_or_default(), request.target);
    if let Some((at, reply)) = state.cache.get(&url)
        && *at == saved
    {
        state.stats.cached += 1;
        return (reply.clone(), 0);
    }
    let (reply, served) = if of_runs { list::list(state, request) } else { courses::list(state, request) };
    if reply.status == 200 && state.faults.ratios.leave_rows() {
        if state.cache.len() >= CACHED {
            state.cache.clear();
        }
        state.cache.insert(url, (saved, reply.clone()));
    }
    (reply, served)
}

fn token(state: &mut State, request: &Request) -> Reply {
    state.stats.tokens += 1;
    let fault = state.token_faults.next(&mut state.chance);
    match fault {
        Fault::Ok => state.doorkeeper.issue(&state.setup, request),
        fault => fault.reply().unwrap_or_else(|| {
            let reply = state.doorkeeper.issue(&state.setup, request);
            Reply { arrival: fault.arrival(), ..reply }
        }),
    }
}

fn too_long(limit: LineLimit, request: &Request) -> Option<Reply> {
    match limit {
        LineLimit::Gunicorn(limit) if request.line.len() > limit => {
            let length = request.line.len();
            Some(Reply::html(
                400,
                format!(
                    "<html>\n  <head>\n    <title>Bad Request</title>\n  </head>\n  <body>\n    \
                     <h1><p>Bad Request</p></h1>\n    Request Line is too large ({length} &gt; {limit})\n  \
                     </body>\n</html>\n"
                ),
            ))
        }
        LineLimit::Uwsgi(limit) if request.target.len() > limit => Some(Reply::none()),
        _ => None,
    }
}

/// Counts a request as under way while it lives.
struct Counted<'a>(Option<&'a Mutex<State>>);

impl<'a> Counted<'a> {
    fn new(state: &'a Mutex<State>, request: &Request) -> Self {
        if ![LIST, COURSES].iter().any(|list| request.path().contains(list)) {
            return Self(None);
        }
        let mut locked = lock(state);
        locked.stats.at_once += 1;
        locked.stats.most_at_once = locked.stats.most_at_once.max(locked.stats.at_once);
        Self(Some(state))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.0 {
            lock(state).stats.at_once -= 1;
        }
    }
}
