//! Harm by those who send: the LMS's stale copies, and messages that nobody can understand.

use std::time::Duration;

use super::{Result, Size};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::{HEAL, Stage};

/// A statement's time beside the interval itself.
const SLACK: Duration = Duration::from_secs(1);
/// The shortest delay queue: a good event that took less was not delayed.
const UNDELAYED: Duration = Duration::from_secs(10);

/// After each event the LMS saves the row as it read it before.
pub(super) async fn stale_save(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    let mix = Mix { edits: 0.7, wipes: 0.0, stale_saves: 1.0, poison: 0.0 };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    stage.load.play(&steps, size.pace() / 4).await?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let slowest = verdict.healed.iter().max().copied().unwrap_or_default();
    let what = "healed within heal.interval (and the statement's time); the slowest";
    let demands = vec![
        Demand::new(
            "stale saves that did harm",
            verdict.healed.len().to_string(),
            !verdict.healed.is_empty(),
        ),
        Demand::within(what, slowest, HEAL + SLACK),
    ];
    Ok((verdict, demands))
}

/// Poison among good events.
pub(super) async fn poison(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    // The small version has few messages, and every kind of poison shall be among them.
    let mix = Mix { poison: if size.small { 0.05 } else { 0.01 }, ..Mix::default() };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    let sent = steps.iter().filter(|step| step.poison.is_some()).count();
    stage.load.play(&steps, size.pace()).await?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let slowest = verdict.refreshed.iter().max().copied().unwrap_or_default();
    let dead = format!("{} of {sent}", verdict.dead);
    let demands = vec![
        Demand::new("each dead-lettered once, with its reason", dead, verdict.dead == sent),
        Demand::within("good ones undelayed; the slowest", slowest, UNDELAYED),
    ];
    Ok((verdict, demands))
}
