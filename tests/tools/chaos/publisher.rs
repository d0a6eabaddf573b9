//! Studio, played: sends events and counts one as published only when the broker has confirmed it. Through every
//! outage it keeps trying, so that what is missing afterwards was lost by somebody else.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};

use crate::history::{Event, Poison, key};
use crate::schedule::{Bad, Form};

/// The header by which we know a message again; the worker promises to keep it.
pub(crate) const ID: &str = "x-chaos-id";

/// Messages on their way at once.
const WINDOW: usize = 64;
const CONNECTING: Duration = Duration::from_secs(5);
const CONFIRMING: Duration = Duration::from_secs(30);
const PERSISTENT: u8 = 2;

/// Where to send to.
pub(crate) struct Publisher {
    url: String,
    exchange: String,
    channel: Option<(Connection, Channel)>,
    pending: VecDeque<(Message, Option<PublisherConfirm>)>,
    confirmed: Vec<Sent>,
}

/// What was sent, for the history.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    /// A good one.
    Good(Event),
    /// A bad one.
    Bad(Poison),
    /// A good one about a course that this LMS does not have.
    Elsewhere(u64),
}

/// One message.
#[derive(Clone)]
pub(crate) struct Message {
    sent: Sent,
    body: Vec<u8>,
    content_type: &'static str,
}

impl Message {
    /// An event about a run.
    pub(crate) fn good(event: Event, form: Form) -> Self {
        let course = key(event.run);
        let (body, content_type) = match form {
            Form::Full => (
                serde_json::json!({
                    "type": "course-publish", "course_id": course, "id": event.id.to_string(),
                    "time": chrono::Utc::now().to_rfc3339(),
                }),
                "application/json",
            ),
            Form::Bare => (serde_json::json!({ "course_id": course }), "application/json"),
            Form::CloudEvent => (
                serde_json::json!({
                    "specversion": "1.0", "source": "openedx/cms/web", "id": event.id.to_string(),
                    "type": "org.openedx.content_authoring.course.catalog_info.changed.v1",
                    "data": { "catalog_info": { "course_key": course } },
                }),
                "application/cloudevents+json",
            ),
        };
        Self { sent: Sent::Good(event), body: body.to_string().into_bytes(), content_type }
    }

    /// An event about a course that this LMS does not have.
    pub(crate) fn elsewhere(id: u64, course: &str) -> Self {
        let body = serde_json::json!({ "type": "course-publish", "course_id": course });
        let body = body.to_string().into_bytes();
        Self { sent: Sent::Elsewhere(id), body, content_type: "application/json" }
    }

    /// One that nobody can understand.
    pub(crate) fn bad(id: u64, bad: Bad) -> Self {
        let body = match bad {
            Bad::BrokenJson => br#"{"type": "course-publish", "course_id": "#.to_vec(),
            Bad::WrongTypes => br#"{"type": 7, "course_id": ["course-v1:a+b+c"]}"#.to_vec(),
            Bad::TooLarge => {
                let filler = "x".repeat(70 * 1024);
                format!(r#"{{"course_id": "course-v1:a+b+c", "filler": "{filler}"}}"#).into_bytes()
            }
            Bad::UnknownType => br#"{"type": "course-eaten", "course_id": "course-v1:a+b+c"}"#.to_vec(),
            Bad::InvalidUtf8 => b"{\"course_id\": \"course-v1:a+b+\xff\xfe\"}".to_vec(),
            Bad::NoBody => Vec::new(),
        };
        Self { sent: Sent::Bad(Poison { id, kind: bad.name() }), body, content_type: "application/json" }
    }

    fn id(&self) -> u64 {
        match &self.sent {
            Sent::Good(event) => event.id,
            Sent::Bad(poison) => poison.id,
            Sent::Elsewhere(id) => *id,
        }
    }
}

impl Publisher {
    /// One that is not connected yet.
    pub(crate) fn new(url: String, exchange: String) -> Self {
        Self { url, exchange, channel: None, pending: VecDeque::new(), confirmed: Vec::new() }
    }

    /// Sends a message; it may be on its way still when this returns.
    pub(crate) async fn send(&mut self, message: Message) {
        let confirm = self.hand_over(&message).await.ok();
        self.pending.push_back((message, confirm));
        while self.pending.len() >= WINDOW {
            self.settle_oldest().await;
        }
    }

    /// Waits until the broker has confirmed all.
    pub(crate) async fn flush(&mut self) {
        while !self.pending.is_empty() {
            self.settle_oldest().await;
        }
    }

    /// Notes down what somebody else has published, and the broker has confirmed.
    pub(crate) fn note(&mut self, sent: Sent) {
        self.confirmed.push(sent);
    }

    /// What the broker has confirmed.
    pub(crate) fn confirmed(&self) -> &[Sent] {
        &self.confirmed
    }

    /// The oldest message on its way is confirmed, or sent again until it is.
    async fn settle_oldest(&mut self) {
        let Some((message, mut confirm)) = self.pending.pop_front() else { return };
        loop {
            if let Some(confirm) = confirm.take() {
                let answer = tokio::time::timeout(CONFIRMING, confirm).await;
                if matches!(answer, Ok(Ok(Confirmation::Ack(None)))) {
                    self.confirmed.push(message.sent);
                    return;
                }
                self.channel = None;
            }
            match self.hand_over(&message).await {
                Ok(next) => confirm = Some(next),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn hand_over(&mut self, message: &Message) -> anyhow::Result<PublisherConfirm> {
        let broken = self.channel.as_ref().is_none_or(|(_, channel)| !channel.status().connected());
        if broken {
            self.channel = Some(open(&self.url).await?);
        }
        let Some((_, channel)) = &self.channel else { bail!("not connected") };
        let mut headers = FieldTable::default();
        headers.insert(ID.into(), AMQPValue::LongLongInt(i64::try_from(message.id())?));
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(message.content_type.into())
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sending = channel.basic_publish(
            self.exchange.as_str().into(),
            "course-publish".into(),
            options,
            &message.body,
            properties,
        );
        let handed_over = tokio::time::timeout(CONFIRMING, sending).await;
        if !matches!(handed_over, Ok(Ok(_))) {
            self.channel = None;
        }
        Ok(handed_over.context("the broker does not read")??)
    }
}

/// A connection with a channel that confirms.
async fn open(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let (connection, channel) = connect(url).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// A connection with a channel.
///
/// # Errors
/// If there is none within some seconds.
pub(crate) async fn connect(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let url = format!("{url}?heartbeat=10");
    let opening = async {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        anyhow::Ok((connection, channel))
    };
    tokio::time::timeout(CONNECTING, opening).await.context("the broker does not answer")?
}
