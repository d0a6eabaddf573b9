//! The configuration where nothing is set: what the sample says.

use super::{Amqp, Catalog, Config, Database, Lms, Log, Reconcile, Settings, Sync};

impl Default for Config {
    #[expect(clippy::unwrap_used, reason = "a test reads the sample")]
    fn default() -> Self {
        Settings::default().config().unwrap()
    }
}

macro_rules! default {
    ($($section:ident: $Section:ident),+) => {$(
        impl Default for $Section {
            fn default() -> Self {
                Config::default().$section
            }
        }
    )+};
}
default!(amqp: Amqp, catalog: Catalog, database: Database, lms: Lms, log: Log, reconcile: Reconcile, sync: Sync);
