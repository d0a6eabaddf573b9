//! `explain <course-id>`: why its link is as it is.

use super::{Context, Exit, output};
use crate::broker::{self, Broker, Publisher, Topology};
use crate::course_key::CourseKey;
use crate::explain::DeadLetter;
use crate::telemetry::report;
use crate::worker::explaining;

pub(super) async fn run(context: &Context, course: &CourseKey) -> anyhow::Result<Exit> {
    let store = context.store().await?;
    let dead_letters = async { dead_letters(context, course).await.map_err(|error| report(&error)) };
    let explanation = explaining::explain(&store, course, dead_letters).await?;
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
    explaining::dead_letters(&letters, course).await
}
