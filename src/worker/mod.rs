//! The worker process: consumes events and runs scheduled jobs until it is stopped.
//!
//! ```text
//! broker::Consumer ─▶ pipeline ─▶ settler ─▶ broker
//!                       │ restore, look up, write (engine), in batches (batcher, pure)
//!                       │ how many of each at once (step_pool)    which need no look-up (batcher, delayed_events: pure)
//!                       └ what happens to each event (settlement, pure)
//! jobs: heal, pass, hints, gauges, writable, prune, dead letters
//! ```

pub mod batcher;
mod dead_letters;
pub mod decode;
mod delayed_events;
mod gauges;
mod hints;
mod jobs;
mod pipeline;
mod prune;
pub mod settlement;
mod settler;
pub mod shutdown;
mod step_pool;
pub mod systemd;
mod tally;
mod trace;
mod unsettled;
mod writable;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::dead_letters::TakeOver;
use self::hints::Hints;
use self::pipeline::Pipeline;
use self::settler::Settler;
use crate::broker::{Attachment, Broker, Consumer, DeadLetters, Publisher, Stopped, Topology};
use crate::config::{Config, Schedule};
use crate::engine::Engine;
use crate::jobs::Jobs;
use crate::pass::Pass;
use crate::status::{Health, Sources};
use crate::store::{PassKind, needs};
use crate::telemetry::otlp;

/// How long running work may take at shutdown; together with closing, less than the 20 s that an operator waits.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How long the connections to the broker may then take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// When passes are due; this may change while the worker runs.
#[derive(Debug)]
pub struct Schedules {
    /// Full passes.
    pub full: watch::Receiver<Option<Schedule>>,
    /// Light passes.
    pub light: watch::Receiver<Option<Schedule>>,
}

/// Runs until `stop` is cancelled, then finishes the work it has begun. `serve` makes the task that answers on the HTTP
/// port; that one runs to the very end.
///
/// # Errors
/// A broker URL that cannot be used, or a task of the worker that died: the process has to go down with it, so that
/// somebody notices.
pub async fn run<S: Future<Output = ()> + Send + 'static>(
    config: &Config,
    schedules: Schedules,
    engine: Engine,
    serve: impl FnOnce(Arc<Health>, Sources) -> S,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let health = Arc::new(Health::new(Instant::now()));
    let broker = Broker::new(&config.amqp)?;
    let topology = Topology::new(&config.amqp);
    let publisher = Publisher::new(broker.clone());
    let settler = Settler::new(publisher.clone(), topology.clone(), stop.clone());
    let letters = DeadLetters::new(broker.clone(), topology.clone());
    let (consumer, deliveries) = Consumer::new(broker.clone(), topology.clone(), config.amqp.prefetch);
    let hints = Hints {
        catalog: engine.catalog().clone(),
        store: engine.store().clone(),
        publisher: publisher.clone(),
        topology: topology.clone(),
        holder: otlp::instance().to_owned(),
        pass: Arc::default(),
    };
    let sources = Sources::new(
        engine.store().clone(),
        engine.catalog().clone(),
        broker,
        topology,
        consumer.attachment(),
    )
    .scheduled_by(config, schedules.full.clone(), schedules.light.clone());
    let mut side = JoinSet::new();
    side.spawn(watch_consumer(consumer.attachment(), health.clone()));
    side.spawn(serve(health.clone(), sources.clone()));
    let watched = health.jobs();
    let mut jobs = start_jobs(config, schedules, &engine, sources, hints, watched, &stop);
    side.spawn(systemd::report(health.clone(), stop.clone()));
    jobs.spawn(TakeOver::new(letters, engine.store().clone(), watched).run(stop.clone()));

    let pipeline = Pipeline::new(engine, settler, config, watched).run(deliveries, stop.clone());
    let ended = drive(pipeline, consumer.run(stop.clone()), &mut jobs, publisher, &stop).await;
    side.shutdown().await;
    ended
}

/// Starts the scheduled jobs.
fn start_jobs(
    config: &Config,
    schedules: Schedules,
    engine: &Engine,
    sources: Sources,
    hints: Hints,
    watched: &Jobs,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    let (store, holder) = (|| engine.store().clone(), || hints.holder.clone());
    let (watching, stopping) = (|| watched.clone(), || stop.clone());
    jobs.spawn(jobs::heal(store(), config.heal.interval, holder(), watching(), stopping()));
    jobs.spawn(writable::watch(store(), needs(config), holder(), watching(), stopping()));
    jobs.spawn(prune::run(store(), holder(), watching(), stopping()));
    jobs.spawn(gauges::Gauges::new(sources, holder()).run(watching(), stopping()));
    let settings = &config.reconcile;
    // Hints ask for full passes.
    let full = (PassKind::Full, schedules.full, hints.pass.clone());
    let light = (PassKind::Light, schedules.light, Arc::default());
    for (kind, schedule, asked_for) in [full, light] {
        let passes = jobs::Passes {
            kind,
            pass: Pass::new(engine.clone(), settings, &config.catalog).watched_by(watching()),
            page_size: settings.page_size,
            store: store(),
            jobs: watching(),
            asked_for,
        };
        jobs.spawn(passes.run(schedule, stopping()));
    }
    jobs.spawn(hints.run(config.reconcile.delta_interval, watching(), stopping()));
    jobs
}

/// Consumer, pipeline and jobs until all have ended; none of them may end, or die, before it was told to.
async fn drive(
    pipeline: impl Future<Output = Result<(), tokio::task::JoinError>> + Send + 'static,
    consumer: impl Future<Output = Stopped> + Send + 'static,
    jobs: &mut JoinSet<()>,
    publisher: Publisher,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut consumer = tokio::spawn(consumer);
    let mut pipeline = tokio::spawn(pipeline);
    let early = tokio::select! {
        // First, as everything may have ended well by the time that anybody looks.
        biased;
        () = stop.cancelled() => None,
        // Before the pipeline, which ends too when there is nobody to feed it.
        ended = &mut consumer => Some(format!("the consumer: {}", how(ended.map(drop)))),
        ended = &mut pipeline => Some(format!("the pipeline: {}", how(ended.flatten()))),
        died = failed_job(jobs) => Some(died),
    };
    if let Some(why) = early {
        stop.cancel();
        anyhow::bail!("a part of the worker died: {why}");
    }
    let deadline = tokio::time::Instant::now() + DRAIN_LIMIT;
    let drained = tokio::time::timeout_at(deadline, async {
        let stopped = (&mut consumer).await.context("the consumer died")?;
        (&mut pipeline).await.context("the pipeline died")?.context("a task of the pipeline died")?;
        anyhow::Ok(stopped)
    });
    let Ok(stopped) = drained.await else {
        // Nothing is lost: what is not acknowledged is delivered again.
        tracing::warn!(event = "worker.undrained", "its events took too long and are left to the broker");
        return Ok(());
    };
    let stopped = stopped?;
    let ended = tokio::time::timeout_at(deadline, async {
        while let Some(ended) = jobs.join_next().await {
            ended.context("a job died")?;
        }
        anyhow::Ok(())
    });
    let ended = ended.await;
    if ended.is_err() {
        tracing::warn!(event = "worker.undrained", "a job takes too long and is not waited for");
    }
    let closing = async { tokio::join!(stopped.close(), publisher.close()) };
    // A broker that does not answer is not waited for either.
    let _ = tokio::time::timeout(CLOSE_LIMIT, closing).await;
    ended.unwrap_or(Ok(()))
}

/// How a task that should have gone on came to its end.
fn how(ended: Result<(), tokio::task::JoinError>) -> String {
    ended.map_or_else(|died| died.to_string(), |()| "it ended by itself".to_owned())
}

/// Waits until a job dies; jobs that have nothing to do end, which is no failure.
async fn failed_job(jobs: &mut JoinSet<()>) -> String {
    loop {
        match jobs.join_next().await {
            Some(Err(error)) => return error.to_string(),
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

async fn watch_consumer(mut attachment: tokio::sync::watch::Receiver<Attachment>, health: Arc<Health>) {
    loop {
        match &*attachment.borrow_and_update() {
            Attachment::Attached { .. } => health.consumer_attached(),
            Attachment::Detached { .. } => health.consumer_detached(Instant::now()),
        }
        if attachment.changed().await.is_err() {
            return;
        }
    }
}
