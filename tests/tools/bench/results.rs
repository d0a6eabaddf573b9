//! The file of results: what people wrote about them stays, what was measured before makes way.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where the measured part begins; what stands before it is kept.
const MARK: &str = "<!-- From here on written by ops/bench --results. -->\n";

/// A file of results, opened for a new measurement.
pub(crate) struct Results(PathBuf);

impl Results {
    /// Cuts the measured part off, and begins it anew with `head`. A file without a measured part, or none at all, gets
    /// one at its end.
    pub(crate) fn begin(path: &Path, head: &str) -> std::io::Result<Self> {
        let before = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let kept = before.split(MARK).next().unwrap_or_default();
        fs::write(path, format!("{kept}{MARK}\n# Measured\n\n{head}\n"))?;
        Ok(Self(path.to_owned()))
    }

    /// Adds a bench's figures, so that a measurement that is broken off leaves what it had.
    pub(crate) fn add(&self, text: &str) -> std::io::Result<()> {
        fs::OpenOptions::new().append(true).open(&self.0)?.write_all(text.as_bytes())
    }
}
