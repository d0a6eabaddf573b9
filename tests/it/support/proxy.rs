//! The way to a server by a wire that a test can cut, freeze and mend.

use std::net::SocketAddr;

use test_support::{Proxy, free_port};
use url::Url;

/// A proxy in front of the server of this URL, whose port is this one where the URL has none; and the URL by way of it.
pub(crate) async fn in_front_of(url: &str, port: u16) -> (Proxy, String) {
    let (_, target) = by(url, ([127, 0, 0, 1], 1).into(), port);
    let proxy = Proxy::start(target).await.unwrap();
    let (url, _) = by(url, proxy.address(), port);
    (proxy, url)
}

/// An address of this machine where nobody listens, for a [`Proxy::start_at`] later.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The URL with another address in it, and the address that was in it.
pub(crate) fn by(url: &str, address: SocketAddr, port: u16) -> (String, String) {
    let mut url = Url::parse(url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(port));
    url.set_host(Some(&address.ip().to_string())).unwrap();
    url.set_port(Some(address.port())).unwrap();
    (url.into(), target)
}
