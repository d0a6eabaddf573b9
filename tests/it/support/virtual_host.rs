//! A virtual host of a test's own on the shared broker, so that a policy on all queues harms no other test.

use std::process::Command;

use secrecy::ExposeSecret;
use url::Url;

use super::broker::amqp;

/// Deleted with all its queues when it is dropped.
pub(crate) struct VirtualHost {
    pub(crate) url: String,
    name: String,
}

impl VirtualHost {
    /// With a policy, as operators have them: each queue gives a message up after so many redeliveries.
    pub(crate) fn with_delivery_limit(limit: u32) -> Self {
        let name = format!("it-{:016x}", rand::random::<u64>());
        let mut url = Url::parse(amqp().url.expose_secret()).unwrap();
        url.set_path(&name);
        rabbitmqctl(&["add_vhost", &name]);
        let user = url.username().to_owned();
        let host = Self { url: url.into(), name };
        rabbitmqctl(&["set_permissions", "-p", &host.name, &user, ".*", ".*", ".*"]);
        let limit = format!("{{\"delivery-limit\": {limit}}}");
        rabbitmqctl(&["set_policy", "-p", &host.name, "--apply-to", "queues", "limit", ".*", &limit]);
        host
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_vhost", &self.name]);
    }
}

/// `TEST_RABBITMQCTL` administers the broker of `COURSE_SHARING_AMQP__URL` where plain `rabbitmqctl` does not.
fn rabbitmqctl(arguments: &[&str]) {
    let program = std::env::var("TEST_RABBITMQCTL").unwrap_or_else(|_| "rabbitmqctl".to_owned());
    let line = format!("{program} -q \"$@\"");
    let ended = Command::new("sh").args(["-c", &line, "sh"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success(),
        "{program} {arguments:?}: {said}\nIf it administers another broker, set TEST_RABBITMQCTL."
    );
}
