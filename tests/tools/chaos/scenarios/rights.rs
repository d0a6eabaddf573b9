//! Harm to what the worker may do in the database.

use std::time::Duration;

use test_support::{http, until};

use super::{Result, Size, no_dead_letters};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;

const WIPED: usize = 10;
/// An interval of heal, generously.
const HEALED: Duration = Duration::from_secs(60);
/// From a refused write to the word of it.
const SAID: Duration = Duration::from_secs(60);

/// The right to UPDATE taken away, links wiped, and the right given back.
pub(super) async fn revoked(stage: &mut Stage, size: Size) -> Result {
    let address = stage.open_http();
    stage.load.lms.grant_by_table().await?;
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    stage.load.play(&steps, size.pace()).await?;
    stage.settle(size.settling()).await?;

    let ready = async |wanted: bool| {
        let asked =
            async || Ok(http::get(address, "/readyz").await.is_ok_and(|got| (got.status == 200) == wanted));
        until("readyz", SAID, asked).await.is_ok()
    };
    stage.load.lms.may_update(false).await?;
    for run in 0..WIPED {
        stage.load.lms.save(run, None).await?;
    }
    let said = ready(false).await;
    let words = http::get(address, "/readyz").await.map(|got| got.body).unwrap_or_default();
    let words = words.lines().last().unwrap_or_default().to_owned();
    stage.load.lms.may_update(true).await?;
    let back = until("wiped links come back", HEALED, async || stage.load.is_right().await);
    let back = back.await.is_ok();
    let ready_again = ready(true).await;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let demands = vec![
        Demand::new("/readyz says that it cannot write", format!("{}: {words}", yes(said)), said),
        Demand::new("links come back with the right", yes(back), back),
        Demand::new("/readyz is well again", yes(ready_again), ready_again),
        no_dead_letters(&verdict),
    ];
    Ok((verdict, demands))
}
