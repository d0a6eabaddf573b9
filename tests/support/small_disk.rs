//! A small file system of our own, which can be filled up.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

/// A directory, and whether a file system of its own is mounted there. Dropping it unmounts it.
pub struct SmallDisk {
    path: PathBuf,
    mounted: bool,
}

impl SmallDisk {
    /// Makes the directory and mounts one of so many kilobytes. Only root may do so: for anybody else the directory is
    /// an ordinary one.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn mount(path: PathBuf, kilobytes: u32) -> anyhow::Result<Self> {
        std::fs::create_dir(&path)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "course-sharing-test"])
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(Self { path, mounted })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be filled up without harm to others.
    pub fn is_small(&self) -> bool {
        self.mounted
    }

    /// Leaves so many bytes of it free.
    ///
    /// # Errors
    /// If it is not small, or fails otherwise than by being full.
    pub fn fill(&self, but_for: u64) -> anyhow::Result<()> {
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
        let size = ballast.metadata()?.len();
        Ok(ballast.set_len(size.saturating_sub(but_for))?)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If it was not filled.
    pub fn free(&self) -> anyhow::Result<()> {
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
