//! Completions for shells, and man pages, both made from the commands themselves.

use std::io;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::Shell;

use super::exit::Exit;
use super::output;

/// Reads the name of a shell that we make completions for.
pub(super) fn shell() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "zsh", "fish"]).try_map(|name| name.parse::<Shell>())
}

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell, mut program: clap::Command) -> Result<Exit, String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program, "course-sharing", &mut text);
    output::print(&String::from_utf8_lossy(&text)).map_err(|error| error.to_string())?;
    Ok(Exit::Done)
}

/// Writes a page for the program and one for each command.
pub(super) fn pages(folder: &Path, program: clap::Command) -> Result<Exit, String> {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
    let failed = |error: io::Error| format!("cannot write man pages to {}: {error}", folder.display());
    written.map(|()| Exit::Done).map_err(failed)
}
