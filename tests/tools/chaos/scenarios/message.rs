//! Messages that harm whoever reads them, and dead letters that are looked at.

use std::time::Duration;

use test_support::servers::Rabbitmq;
use test_support::{http, raw, until};

use super::{Result, Size, no_dead_letters};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;

/// How often a queue with the policy delivers a message before it gives it up.
const DELIVERIES: u32 = 5;
const LOOKS: usize = 12;
/// From sending a message that cannot be read to its dead letter; and what the log may say of it.
const BURIED: Duration = Duration::from_secs(30);
const ERROR_LINES: usize = 10;
/// How long we look for it, so that late is told from never.
const LOOKING: Duration = Duration::from_secs(60);
/// The good ones beside it took less than the shortest delay queue.
const UNDELAYED: Duration = Duration::from_secs(10);

/// Dead letters on a broker whose policy limits deliveries, looked at again and again.
pub(super) async fn looked_at(stage: &mut Stage, rabbitmq: &Rabbitmq, size: Size) -> Result {
    let address = stage.open_http();
    rabbitmq.limit_deliveries(stage.queues.prefix(), DELIVERIES).await?;
    stage.begin().await?;
    let mix = Mix { poison: 0.2, ..Mix::default() };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    let sent = steps.iter().filter(|step| step.poison.is_some()).count();
    stage.load.play(&steps, size.pace()).await?;
    stage.settle(size.settling()).await?;
    until("all poison is dead", LOOKING, async || Ok(stage.dead().await.is_ok_and(|dead| dead >= sent)))
        .await?;
    for _ in 0..LOOKS {
        stage.program.run(&["dead-letters", "list"]).await?;
        http::get(address, "/?course=course-v1%3Aa%2Bb%2Bc").await?;
    }
    let verdict = stage.judge().await?;
    let dead = format!("{} of {sent} after {LOOKS} lists and searches", verdict.dead);
    let demands = vec![Demand::new("every dead letter is still there", dead, verdict.dead == sent)];
    Ok((verdict, demands))
}

/// Headers nested as deep as a frame can carry: the process lives, and the letters can be shown and discarded.
pub(super) async fn deep(stage: &mut Stage, rabbitmq: &Rabbitmq, size: Size) -> Result {
    let properties = raw::nested(raw::DEEPEST);
    let sent = among_good_ones(stage, rabbitmq, size, "deep headers", &properties, 1).await?;
    until("the deep message is dead", LOOKING, async || {
        Ok(stage.dead().await.is_ok_and(|dead| dead >= sent))
    })
    .await?;
    for action in ["list", "show"] {
        stage.program.run(&["dead-letters", action]).await?;
    }
    let verdict = stage.judge().await?;
    let slowest = verdict.refreshed.iter().max().copied().unwrap_or_default();
    stage.program.run(&["dead-letters", "discard", "--all", "--yes"]).await?;
    let left = stage.dead().await?;
    let demands = vec![
        Demand::new("dead letters, shown", format!("{} of {sent}", verdict.dead), verdict.dead == sent),
        Demand::new("dead letters after they were discarded", left.to_string(), left == 0),
        Demand::within("good ones undelayed; the slowest", slowest, UNDELAYED),
    ];
    Ok((verdict, demands))
}

/// Properties that are no UTF-8: the client library refuses them, and the connection with them.
pub(super) async fn unreadable(stage: &mut Stage, rabbitmq: &Rabbitmq, size: Size) -> Result {
    let since = std::time::Instant::now();
    let sent = among_good_ones(stage, rabbitmq, size, "no UTF-8", &raw::no_utf_8(), 1).await?;
    let dead = until("the unreadable message is dead", 4 * LOOKING, async || {
        Ok(stage.dead().await.is_ok_and(|dead| dead >= sent))
    });
    let buried = dead.await.is_ok();
    let took = since.elapsed();
    let lines = stage.workers[0].log_lines(r#""level":"ERROR""#);
    let verdict = stage.judge().await?;
    let what = "from the first event to its dead letter";
    let demands = vec![
        Demand::new("buried", if buried { "yes" } else { "no" }, buried),
        // The good ones' own time is in it.
        Demand::within(what, took, BURIED + size.playing()),
        Demand::new("ERROR lines, at most 10", lines.to_string(), lines <= ERROR_LINES),
    ];
    Ok((verdict, demands))
}

/// Plays events with so many messages of these properties in their midst, and lets everything settle. How many of
/// them were sent.
async fn among_good_ones(
    stage: &mut Stage,
    rabbitmq: &Rabbitmq,
    size: Size,
    kind: &'static str,
    properties: &[u8],
    count: usize,
) -> anyhow::Result<usize> {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(count, size.events);
    let stage_seen = &*stage;
    let harm = async {
        for moment in moments {
            stage_seen.load.played(moment).await;
            stage_seen.load.harm(kind, &rabbitmq.url(), stage_seen.queues.prefix(), properties).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(stage_seen.load.play(&steps, size.pace()), harm)?;
    let settled = stage.settle(size.settling());
    settled.await?;
    stage.workers[0].must_run()?;
    Ok(count)
}

/// One course whose key the LMS's old table cannot hold, among others.
pub(super) async fn beyond_the_table(stage: &mut Stage, size: Size) -> Result {
    const KEY: &str = "course-v1:ChaosX+C\u{20BB7}+2026";
    stage.load.lms.old_character_set().await?;
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let load = &stage.load;
    let others = async {
        for moment in moments {
            load.played(moment).await;
            load.publish_elsewhere(KEY).await;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), others)?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let slowest = verdict.refreshed.iter().max().copied().unwrap_or_default();
    let demands = vec![
        no_dead_letters(&verdict),
        Demand::within("the others in its batch undelayed; the slowest", slowest, UNDELAYED),
    ];
    Ok((verdict, demands))
}
