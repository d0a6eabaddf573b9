//! The worker as a process: messages in, rows out, and what it does when something around it goes.

mod custom_courses;
mod dead_letters;
mod hints;
mod lifecycle;
mod look_ups;
mod messages;
mod outages;
mod refusals;
mod rejected;
mod schedule;
mod service;
mod settling;
mod traces;
mod urls;
mod writes;

/// Where runs have their pages.
const PAGE: &str = "https://www.campus.example/course";
