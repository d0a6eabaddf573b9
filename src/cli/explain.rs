//! `explain <course-id>`: why its link is as it is.

use super::{Context, Exit, output};
use crate::broker::{self, Broker, Publisher, Topology};
use crate::course_key::CourseKey;
use crate::explain::{DeadLetter, Explanation};
use crate::telemetry::report;
use crate::worker::reading;

/// Dead letters of one course that are shown.
const SHOWN: u32 = 20;

pub(super) async fn run(context: &Context, course: &CourseKey) -> anyhow::Result<Exit> {
    let store = context.store().await?;
    let courses = std::slice::from_ref(course);
    let (links, runs) = (store.links(courses), [course.run_key()]);
    let (mut links, mut entries, dead_letters) =
        tokio::try_join!(async { Ok(links.await?) }, async { Ok(store.entries(&runs).await?) }, async {
            // The rest can be told without a broker.
            anyhow::Ok(dead_letters(context, course).await.map_err(|error| report(&error)))
        })?;
    let explanation = Explanation {
        course: course.clone(),
        overview: links.pop(),
        entry: entries.remove(&course.run_key()),
        dead_letters,
    };
    let rows: Vec<_> = explanation
        .lines(&context.config.lms)
        .into_iter()
        .map(|(label, text)| [label.to_owned(), output::safe(&text)])
        .collect();
    output::columns(&rows)?;
    Ok(Exit::Done)
}

async fn dead_letters(context: &Context, course: &CourseKey) -> Result<Vec<DeadLetter>, broker::BrokerError> {
    let amqp = &context.config.amqp;
    let broker = Broker::new(amqp)?;
    let letters = broker::DeadLetters::new(broker.clone(), Topology::new(amqp), Publisher::new(broker));
    let mut found = Vec::new();
    let wanted = |letter: &broker::Received| reading::course(letter).is_some_and(|about| about == *course);
    letters
        .list(SHOWN, wanted, |letter| {
            let reason = letter.reason.clone().unwrap_or_default();
            found.push(DeadLetter { first_seen: letter.first_seen, reason });
        })
        .await?;
    Ok(found)
}
