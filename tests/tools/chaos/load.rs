//! Plays a schedule: Catalog's editor, LMS and Studio, one step after the other, at a given pace.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use test_support::{raw, until};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::history::{Cell, Event, Poison, key, now, url};
use crate::lms::Lms;
use crate::publisher::{Message, Publisher, Sent};
use crate::schedule::{self, Form, Step};
use stand_in::StandIn;

/// The field of a body that has our id, where no header can have it.
const ID_IN_BODY: &str = "chaos";

/// The id that such a body has.
pub(crate) fn id_in(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get(ID_IN_BODY)?.as_u64()
}

/// Everything outside of the program that events come from and go to.
pub(crate) struct Load {
    /// The LMS's database.
    pub(crate) lms: Arc<Lms>,
    /// The Catalog.
    pub(crate) catalog: StandIn,
    /// How many runs there are.
    pub(crate) runs: usize,
    /// While true the LMS writes nothing: its database is out, for it as for the worker.
    pub(crate) lms_is_out: AtomicBool,
    elsewhere: AtomicU32,
    played: watch::Sender<usize>,
    state: Mutex<State>,
    notes: std::sync::Mutex<Vec<String>>,
}

struct State {
    publisher: Publisher,
    versions: Vec<u32>,
    next_id: u64,
}

impl Load {
    /// With nothing in the Catalog but the first URL of each run.
    pub(crate) fn new(lms: Lms, catalog: StandIn, publisher: Publisher, runs: usize) -> Self {
        for run in 0..runs {
            catalog.put(&key(run), Some(&url(run, 1)));
        }
        Self {
            lms: Arc::new(lms),
            catalog,
            runs,
            lms_is_out: AtomicBool::new(false),
            elsewhere: AtomicU32::new(0),
            played: watch::Sender::new(0),
            state: Mutex::new(State { publisher, versions: vec![1; runs], next_id: 1 }),
            notes: std::sync::Mutex::default(),
        }
    }

    /// Something to be told when the scenario has ended.
    pub(crate) fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// All of that.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An event for each run, so that every URL is known to the worker.
    pub(crate) async fn warm_up(&self) {
        let mut state = self.state.lock().await;
        for run in 0..self.runs {
            state.publish(run, false, Form::Full).await;
        }
        state.publisher.flush().await;
    }

    /// Plays these steps, so many a second, and waits until the broker has confirmed all events.
    pub(crate) async fn play(&self, steps: &[Step], a_second: u32) -> anyhow::Result<()> {
        self.play_until(steps, a_second, None).await
    }

    /// The same, but plays no step after `end`.
    pub(crate) async fn play_until(
        &self,
        steps: &[Step],
        a_second: u32,
        end: Option<Instant>,
    ) -> anyhow::Result<()> {
        self.note(format!("{} events, schedule {}", steps.len(), schedule::digest(steps)));
        self.played.send_replace(0);
        let mut ticks = interval_at(Instant::now(), Duration::from_secs(1) / a_second);
        // After an outage the load goes on at its pace: the backlog is in the queue, not in here.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut later = JoinSet::new();
        for step in steps {
            ticks.tick().await;
            if end.is_some_and(|end| Instant::now() > end) {
                break;
            }
            while let Some(saved) = later.try_join_next() {
                saved??;
            }
            self.step(step, &mut later).await.with_context(|| format!("at {step:?}"))?;
            self.played.send_modify(|played| *played += 1);
        }
        while let Some(saved) = later.join_next().await {
            saved??;
        }
        self.state.lock().await.publisher.flush().await;
        Ok(())
    }

    /// Waits until so many steps of the schedule have been played.
    pub(crate) async fn played(&self, steps: usize) {
        let mut played = self.played.subscribe();
        // Fails only where the sender is gone, and we hold it.
        let _ = played.wait_for(|played| *played >= steps).await;
    }

    async fn step(&self, step: &Step, later: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        if step.edit {
            self.edit(&mut state, step.run);
        }
        let out = self.lms_is_out.load(Ordering::Relaxed);
        // An LMS that cannot read the row has no copy to save.
        if let Some(pause) = step.stale_save.filter(|_| !out)
            && let Ok(read) = self.lms.column(step.run).await
        {
            let (lms, run) = (Arc::clone(&self.lms), step.run);
            later.spawn(async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                lms.save(run, read.as_deref()).await
            });
        }
        let wiped = match step.lms {
            _ if out => false,
            schedule::Lms::Leave => false,
            schedule::Lms::Blank => self.lms.save(step.run, None).await.map(|()| true)?,
            schedule::Lms::Recreate => self.lms.recreate(step.run).await.map(|()| true)?,
        };
        state.publish(step.run, wiped, step.form).await;
        if let Some(bad) = step.poison {
            let id = state.id();
            state.publisher.send(Message::bad(id, bad)).await;
        }
        Ok(())
    }

    fn edit(&self, state: &mut State, run: usize) -> u32 {
        state.versions[run] += 1;
        self.catalog.put(&key(run), Some(&url(run, state.versions[run])));
        state.versions[run]
    }

    /// Gives run 0 a new URL, tells of it, and waits until it is in the column: how long that takes.
    ///
    /// # Errors
    /// If it is not there within `limit`.
    pub(crate) async fn canary(&self, limit: Duration) -> anyhow::Result<Duration> {
        let version = {
            let mut state = self.state.lock().await;
            let version = self.edit(&mut state, 0);
            state.publish(0, false, Form::Full).await;
            version
        };
        until("an event after the fault is applied", limit, async || {
            let column = self.lms.column(0).await.ok().flatten();
            Ok(Cell::read(0, column.as_deref()).version() >= Some(version))
        })
        .await
    }

    /// Sends an event for each run of which the Catalog said that it has no link, or one that is refused, and of which
    /// the worker has not seen since that this is mended; how many there were.
    pub(crate) async fn publish_mended(&self) -> anyhow::Result<usize> {
        let mended = self.lms.without_answered_link().await?;
        let mut state = self.state.lock().await;
        for &run in &mended {
            state.publish(run, false, Form::Full).await;
        }
        state.publisher.flush().await;
        Ok(mended.len())
    }

    /// Publishes a message with these properties, which count as bad ones whatever its body says.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub(crate) async fn harm(
        &self,
        kind: &'static str,
        broker: &str,
        exchange: &str,
        properties: &[u8],
    ) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        let id = state.id();
        // Its properties may not survive, so the body has the id.
        let body = serde_json::json!({ "type": "course-publish", "course_id": key(0), ID_IN_BODY: id });
        raw::publish(broker, exchange, "course-publish", properties, body.to_string().as_bytes()).await?;
        state.publisher.note(Sent::Bad(Poison { id, kind }));
        Ok(())
    }

    /// Publishes an event about a course that the LMS does not have. It may wait in a delay queue for hours.
    pub(crate) async fn publish_elsewhere(&self, course: &str) {
        let mut state = self.state.lock().await;
        let id = state.id();
        state.publisher.send(Message::elsewhere(id, course)).await;
        self.elsewhere.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of those there were.
    pub(crate) fn elsewhere(&self) -> u32 {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Whether every column has the Catalog's last URL.
    pub(crate) async fn is_right(&self) -> anyhow::Result<bool> {
        let columns = self.lms.columns(self.runs).await?;
        let state = self.state.lock().await;
        Ok(columns.iter().zip(&state.versions).all(|(cell, last)| *cell == Cell::Version(*last)))
    }

    /// The Catalog's last versions, and what the broker has confirmed.
    pub(crate) async fn told(&self) -> (Vec<u32>, Vec<Sent>) {
        let state = self.state.lock().await;
        (state.versions.clone(), state.publisher.confirmed().to_vec())
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    async fn publish(&mut self, run: usize, wiped: bool, form: Form) {
        let event = Event { id: self.id(), run, version: self.versions[run], sent_at: now(), wiped };
        self.publisher.send(Message::good(event, form)).await;
    }
}
