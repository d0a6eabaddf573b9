//! Dead letters, taken over from their queue.

use sea_orm::entity::prelude::*;

/// One message that was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_dead_letter")]
pub struct Model {
    /// By which the commands name it.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// SHA-256 over routing key, the sender's properties and body, in hexadecimal: messages alike in these are one row.
    pub digest: String,
    /// The message's body, or the beginning of one that is too large for the database.
    pub body: Vec<u8>,
    /// How long the body was.
    pub body_bytes: i64,
    /// SHA-256 of the whole body, in hexadecimal.
    pub body_sha256: String,
    /// The message's properties, headers among them, in AMQP's encoding.
    pub properties: Vec<u8>,
    /// The routing key it was first published with.
    pub routing_key: String,
    /// Its content type, with parameters.
    pub content_type: Option<String>,
    /// Why it is dead, in one line.
    pub reason: String,
    /// The course that it is about or, where it cannot be understood, the first that it names.
    pub course_id: Option<String>,
    /// Whether it can be understood, and is dead for another reason.
    pub understood: bool,
    /// How many delays had counted as attempts.
    pub attempt: i64,
    /// When this program first saw it, by the clock of the worker that did.
    pub first_seen: DateTimeUtc,
    /// When it became a row, on the database's clock.
    pub taken_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
