//! `config show`: what is in effect, and where each value was set; secrets are masked.

use clap::Subcommand;
use serde_json::json;

use super::context::{Context, Output};
use super::exit::Exit;
use super::output;
use crate::config::Shown;

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Action {
    /// Show every key, its value, and where that was set; secrets are masked
    Show,
}

pub(super) fn run(context: &Context, action: Action) -> anyhow::Result<Exit> {
    let Action::Show = action;
    let shown = context.settings.shown();
    match context.output {
        Output::Human => output::columns(&shown.iter().map(row).collect::<Vec<_>>())?,
        Output::Json => {
            let settings: Vec<_> = shown
                .iter()
                .map(|Shown { key, value, origin }| {
                    json!({ "key": key, "value": value, "from": origin.as_ref().map(ToString::to_string) })
                })
                .collect();
            output::json(&json!({ "settings": settings }))?;
        }
    }
    Ok(Exit::Done)
}

fn row(Shown { key, value, origin }: &Shown) -> [String; 3] {
    let value = value.as_deref().unwrap_or("(not set)");
    let from = origin.as_ref().map_or("default".to_owned(), ToString::to_string);
    [key.clone(), value.to_owned(), from]
}
