//! The broker room against a real RabbitMQ.

mod connecting;
mod consuming;
mod dead_letters;
mod publishing;
mod settling;
mod topology;
