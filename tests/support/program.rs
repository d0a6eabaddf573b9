//! How `course-sharing` is started: where it is, and by which settings.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

/// The environment variable of `section.key`.
pub fn variable(key: &str) -> String {
    format!("COURSE_SHARING_{}", key.to_uppercase().replace('.', "__"))
}

/// A command that gets none of our own and OpenTelemetry's variables from whoever runs this.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("COURSE_SHARING_") || name.starts_with("OTEL_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// The program that was built beside this one: `target/<profile>/course-sharing`.
///
/// # Errors
/// If the system does not say where this one is.
pub fn beside() -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe()?;
    Ok(ours.parent().context("this program is in no folder")?.join("course-sharing"))
}
