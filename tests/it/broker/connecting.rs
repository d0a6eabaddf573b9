//! Errors of connecting: what an operator reads.

use course_sharing::broker::{Broker, BrokerError, Role};
use course_sharing::config::Amqp;
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::broker::{SOON, amqp};

async fn error(url: &str) -> BrokerError {
    let broker = Broker::new(&Amqp { url: url.into(), ..Amqp::default() }).unwrap();
    match broker.open(Role::Consumer).await {
        Ok(_) => panic!("{url} should not be let in"),
        Err(error) => error,
    }
}

fn url(change: impl FnOnce(&mut Url)) -> String {
    let mut url = Url::parse(amqp().url.expose_secret()).unwrap();
    change(&mut url);
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_called_one_and_not_shown() {
    let error = error(&url(|url| url.set_password(Some("hush-hush")).unwrap())).await;
    assert!(matches!(error, BrokerError::Denied { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("wrong user name or password") && said.contains("\"guest\""), "{said}");
    assert!(!format!("{error:?} {said}").contains("hush-hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_does_not_exist_is_named() {
    let error = error(&url(|url| url.set_path("/nowhere"))).await;
    assert!(matches!(error, BrokerError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("virtual host") && error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_called_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = error(&format!("amqp://guest:hush-hush@{free}/%2f")).await;
    assert!(matches!(error, BrokerError::Unreachable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(&free.to_string()) && said.contains("refused"), "{said}");
    assert!(!said.contains("hush-hush"));
}

#[test]
fn an_ipv6_address_is_not_taken_for_localhost() {
    let broker = Broker::new(&Amqp { url: "amqp://[::1]:5673/%2f".into(), ..Amqp::default() }).unwrap();
    assert_eq!(broker.address(), "amqp://::1:5673 (virtual host \"/\")");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_and_stays_silent_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["amqp", "amqps"] {
        let error = error(&format!("{scheme}://{}/%2f", silent.local_addr().unwrap())).await;
        assert!(matches!(error, BrokerError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("no answer within 10 s"), "{error}");
        let (ours, _) = silent.accept().await.unwrap();
        tokio::time::timeout(SOON, closed(&ours)).await.expect("a socket that is closed");
    }
}

async fn closed(stream: &TcpStream) {
    let mut buffer = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
