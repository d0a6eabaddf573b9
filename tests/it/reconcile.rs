//! The pass against a Catalog that behaves as the real one was seen to, on SQLite, PostgreSQL and MariaDB.

mod brake;
mod broken;
mod custom_courses;
mod drift;
mod dry_run;
mod light;
mod meanwhile;
mod outage;
mod refused;
mod rejected;
mod resume;
pub(crate) mod rig;
mod statements;
mod throttled;
mod unchanged;
mod whole;
