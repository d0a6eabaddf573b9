//! A small file system of our own, for SQLite, which can be filled up.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

const SIZE: &str = "size=48m";

/// A directory, and whether a file system of 48 MB is mounted there. Dropping it unmounts it.
pub(crate) struct SmallDisk {
    /// Where it is.
    pub(crate) path: PathBuf,
    mounted: bool,
}

impl SmallDisk {
    /// Mounts one below `root`. Only root may do so: for anybody else the directory is an ordinary one.
    pub(crate) fn mount(root: &Path) -> anyhow::Result<Self> {
        let path = super::directory(root, "sqlite", None)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "course-sharing-chaos"])
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(Self { path, mounted })
    }

    /// Whether it can be filled up without harm to others.
    pub(crate) fn is_small(&self) -> bool {
        self.mounted
    }

    /// Leaves no byte of it free.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.mounted, "{} is not a file system of its own", self.path.display());
        let mut ballast = File::create(self.ballast())?;
        for chunk in [64 * 1024, 4096, 1] {
            let chunk = vec![0; chunk];
            while match ballast.write(&chunk) {
                Ok(written) => written > 0,
                Err(error) if error.kind() == ErrorKind::StorageFull => false,
                Err(error) => return Err(error).context("the disk cannot be filled"),
            } {}
        }
        Ok(())
    }

    /// Gives it back.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("the disk cannot be freed")
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: somebody may still look at a file in it.
            let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
        }
    }
}
