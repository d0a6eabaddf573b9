//! `check`: one line for each part, and what to do about each failure.

use secrecy::ExposeSecret;

use super::{Context, Exit, output};
use crate::broker::{Broker, BrokerError, Role, Topology};
use crate::config::without_password;
use crate::store::Store;
use crate::telemetry::report;

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    // The configuration has been read, or we would not be here.
    let mut all_well = line("configuration", Ok("read and understood".to_owned()))?;
    let (database, broker, catalog) = tokio::join!(database(context), broker(context), catalog(context));
    for (part, found) in [("database", database), ("broker", broker), ("catalog", catalog)] {
        all_well &= line(part, found)?;
    }
    Ok(if all_well { Exit::Done } else { Exit::Failed })
}

fn line(part: &str, found: Result<String, String>) -> anyhow::Result<bool> {
    let (word, text) = match &found {
        Ok(text) => ("ok  ", text),
        Err(text) => ("FAIL", text),
    };
    output::print(&format!("{word}  {part:<13}  {}\n", output::safe(text)))?;
    Ok(found.is_ok())
}

async fn database(context: &Context) -> Result<String, String> {
    let store = Store::connect(&context.config.database).await.map_err(|error| {
        format!("{}; is it up, and are database.url's host, user and password right?", report(&error))
    })?;
    store.check_schema().await.map_err(|error| report(&error))?;
    let counts = store.counts().await.map_err(|error| report(&error))?;
    let url = without_password(context.config.database.url.expose_secret());
    Ok(format!("{url}: {} overviews with a link, {} without", counts.linked, counts.blank))
}

async fn broker(context: &Context) -> Result<String, String> {
    let amqp = &context.config.amqp;
    let looked = async {
        let broker = Broker::new(amqp)?;
        let connection = broker.open(Role::Operator).await?;
        let topology = Topology::new(amqp);
        // Looking never declares: a check changes nothing.
        let counts = match topology.verify(&connection).await {
            Ok(()) => Some(topology.counts(&connection).await?),
            Err(BrokerError::Missing { .. }) if amqp.declare => None,
            Err(error) => return Err(error),
        };
        connection.close().await;
        Ok::<_, BrokerError>((broker.address().to_owned(), counts))
    };
    let (address, counts) = looked.await.map_err(|error| report(&error))?;
    Ok(match counts {
        Some(counts) => {
            let delayed: u32 = counts.delayed.iter().map(|(_, n)| n).sum();
            format!(
                "{address}: {} events waiting, {delayed} delayed, {} dead letters",
                counts.events, counts.dead
            )
        }
        None => {
            format!("{address}: the topology is not there yet; the worker will declare it when it starts")
        }
    })
}

async fn catalog(context: &Context) -> Result<String, String> {
    let catalog = context.catalog().map_err(|error| format!("{error:#}"))?;
    let count = catalog.probe().await.map_err(|error| report(&error))?;
    let token = if context.config.catalog.token_url.is_some() { "with a token" } else { "without a token" };
    let hint = if count == 0 { ": is this the right partner's host?" } else { "" };
    Ok(format!("{}: {count} runs listed, asked {token}{hint}", context.config.catalog.url))
}
