//! Where the servers' programs are, and what to install where they are not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::bail;

/// Debian keeps these off everybody's PATH; `*` stands for one path element, the highest version of which wins.
const PLACES: [&str; 6] = [
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/sbin",
    "/usr/libexec",
    "/usr/lib/erlang/erts-*/bin",
];

/// The folder of another system, as `ops/servers` makes them. Unset: the servers are this machine's own.
static SYSTEM: OnceLock<PathBuf> = OnceLock::new();

/// Takes all servers from the system in `folder`, and starts them in it by `chroot`; to be called once, before any.
///
/// # Errors
/// If that is no whole system with its `/proc`, or was called before.
pub fn take_from(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.canonicalize()?;
    for needed in ["etc/passwd", "tmp", "proc/self"] {
        if std::fs::symlink_metadata(folder.join(needed)).is_err() {
            bail!(
                "{} has no {needed}: name a folder that `ops/servers` has made and started servers in",
                folder.display()
            );
        }
    }
    SYSTEM.set(folder).map_err(|_| anyhow::anyhow!("the servers' system can be chosen only once"))
}

/// A path of the system that the servers run in, `place` being absolute there.
fn within(place: &Path) -> PathBuf {
    match SYSTEM.get() {
        Some(system) => system.join(place.strip_prefix("/").unwrap_or(place)),
        None => place.to_owned(),
    }
}

/// A path as the servers see it.
pub(super) fn seen(path: &Path) -> PathBuf {
    match SYSTEM.get().and_then(|system| path.strip_prefix(system).ok()) {
        Some(inside) => Path::new("/").join(inside),
        None => path.to_owned(),
    }
}

/// Where the servers' files can be.
pub fn temporary() -> PathBuf {
    if SYSTEM.get().is_some() { within(Path::new("/tmp")) } else { std::env::temp_dir() }
}

/// A command that runs `program`, a path from [`find`], as `owner`.
pub(super) fn command(program: &Path, owner: Option<(u32, u32)>) -> Command {
    match SYSTEM.get() {
        Some(system) => {
            let (user, group) = owner.unwrap_or_default();
            let mut command = Command::new("chroot");
            command.arg(format!("--userspec={user}:{group}")).arg(system).arg(seen(program));
            command
        }
        None => {
            let mut command = Command::new(program);
            if let Some((user, group)) = owner {
                command.gid(group).uid(user);
            }
            command
        }
    }
}

/// A program's path; a place of its distribution goes before PATH, where Debian has wrappers that change the user.
///
/// # Errors
/// If it is nowhere: the words say which package brings it.
pub(super) fn find(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = PLACES.iter().flat_map(|place| expand(&within(Path::new(place)).to_string_lossy()));
    let places = places.chain(std::env::split_paths(&path).map(|place| within(&place)));
    let mut candidates = places.map(|place| place.join(program)).filter(|path| executable(path));
    if let Some(found) = candidates.next() {
        return Ok(found);
    }
    bail!(
        "{program} is not on this machine: on Debian or Ubuntu, sudo apt-get install {package}. \
         It need not run; its programs are enough."
    )
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The directories that a pattern with at most one `*` stands for, highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort_by_key(|name| std::cmp::Reverse(version(name)));
    names.iter().map(|name| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}

fn version(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The user that database servers run as: they refuse to be root. None: we are somebody else already.
///
/// # Errors
/// If we are root and neither `preferred` nor `nobody` exists.
pub(super) fn unprivileged(preferred: &str) -> anyhow::Result<Option<(u32, u32)>> {
    // Whose process this is, without unsafe code.
    if Path::new("/proc/self").metadata()?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string(within(Path::new("/etc/passwd")))?;
    for name in [preferred, "nobody"] {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = fields.into_iter().find(|fields| fields.len() > 3 && fields[0] == name);
        if let Some(fields) = user {
            return Ok(Some((fields[2].parse()?, fields[3].parse()?)));
        }
    }
    bail!("run as root, this needs a user {preferred} or nobody to run a database as")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_package_that_brings_it() {
        let error = find("no-such-program", "some-package").unwrap_err().to_string();
        assert!(
            error.contains("no-such-program") && error.contains("apt-get install some-package"),
            "{error}"
        );
    }

    #[test]
    fn the_highest_version_goes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "17"] {
            std::fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = expand(&format!("{}/*/bin", root.path().display()));
        let versions: Vec<_> = found.iter().map(|path| path.parent().unwrap().file_name().unwrap()).collect();
        assert_eq!(versions, ["17", "15", "9.6"]);
    }
}
